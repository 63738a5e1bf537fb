"""Discover: cluster the embeddings of the collected images into modes, and show each one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfdebias.metrics.entries import Entry, measured, missing
from selfdebias.metrics.modes import mode_stability
from selfdebias.modes.carried import mean_offsets
from selfdebias.storage.atomic import write_bytes, write_json, write_tensors
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import contact_sheet

VERSION = 4
CONFIG = ("clustering", "vocabulary", "discover")
SHEET = 48  # images on a contact sheet
PALE = 0.92  # grey of a sheet without an image


def discover(folder: Path, collected: Path, clustering: Any, vocabulary: Any, encoder: Any) -> None:
    """Write ``modes.json``, the modes' centres and a contact sheet of each.

    Args:
        folder: the stage's own folder.
        collected: folder of the collect stage.
        clustering: an estimator with `fit`, `labels_`, `centers_`, `silhouettes_` and `components_`.
        vocabulary: finds the captions that tell the modes apart.
        encoder: the one that collect used; its text tower reads the captions.
    """
    store = BatchFolder.open(collected)
    ids, e = read_embeddings(store)
    stability = stability_of(clustering, e.double().numpy())
    clustering.fit(e.numpy().astype(np.float64))
    labels, silhouettes = clustering.labels_, clustering.silhouettes_
    facts = {
        "silhouette": silhouettes[int(labels.max()) + 1],
        "silhouettes": {str(n): value for n, value in silhouettes.items()},
        "stability": stability,
        "components": clustering.components_,
        "words": vocabulary.describe(e.double().numpy(), labels, encoder),
    }
    offsets = mean_offsets(e.double().numpy(), labels, [record["prompt"] for record in store.records()])
    write_modes(folder, ids, labels, clustering.centers_, offsets, facts, store.images)


def write_modes(
    folder: Path, ids: Sequence[int], labels: np.ndarray, centers: np.ndarray, offsets: np.ndarray,
    facts: Mapping[str, Any], images: Callable[[Sequence[int]], Tensor],
) -> None:  # fmt: skip
    """Write what is known of K modes: ``modes.json``, ``centers.safetensors`` and a contact sheet of each.

    Args:
        folder: the stage's own folder.
        ids: of N images.
        labels: (N,) int, the mode of each.
        centers: (K, d) unit centres.
        offsets: (K, d), the mean of each mode less that of its prompt.
        facts: what else goes into ``modes.json``.
        images: reads images, (n, 3, H, W), by their ids.
    """
    k = len(centers)
    sizes = np.bincount(labels, minlength=k)
    modes = {
        "k": k,
        "sizes": sizes.tolist(),
        "shares": (sizes / sizes.sum()).tolist(),
        "labels": {str(i): int(label) for i, label in zip(ids, labels, strict=True)},
        "target": [1 / k] * k,
    }
    tensors = {"centers": centers, "offsets": offsets}
    write_tensors(folder / "centers.safetensors", {name: torch.from_numpy(x).float() for name, x in tensors.items()})
    for mode in range(k):
        members = [i for i, label in zip(ids, labels, strict=True) if label == mode][:SHEET]
        shown = images(members) if members else torch.full_like(images([ids[0]]), PALE)  # none of this prompt's
        _write_sheet(folder / f"mode-{mode}.png", shown)
    write_json(folder / "modes.json", modes | dict(facts))


def stability_of(clustering: Any, e: np.ndarray) -> Entry:
    """How far modes of two halves of the images agree; null where half of them are too few to be clustered."""
    try:
        return measured(mode_stability(lambda: deepcopy(clustering), e, seed=0), n=len(e))
    except ValueError as error:
        return missing(f"half of the images: {error}", n=len(e))


def read_embeddings(store: BatchFolder) -> tuple[list[int], Tensor]:
    """Return ids, sorted, and the embeddings (N, d) in their order."""
    by_id = {record["id"]: (record["batch"], place) for record, place in _places(store)}
    tensors = dict(store.tensors())
    ids = sorted(by_id)
    return ids, torch.stack([tensors[batch]["e"][place] for batch, place in (by_id[i] for i in ids)])


def _places(store: BatchFolder):
    seen: dict[int, int] = {}
    for record in store.records():
        place = seen.setdefault(record["batch"], 0)
        seen[record["batch"]] += 1
        yield record, place


def _write_sheet(path: Path, images: Tensor) -> None:
    buffer = BytesIO()
    contact_sheet(images, columns=12).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
