"""Discover: cluster the embeddings of the collected images into modes, and show each one."""

from __future__ import annotations

from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfdebias.metrics.entries import Entry, measured, missing
from selfdebias.metrics.modes import mode_stability
from selfdebias.storage.atomic import write_bytes, write_json, write_tensors
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import contact_sheet

VERSION = 3
CONFIG = ("clustering", "vocabulary", "discover")
SHEET = 48  # images on a contact sheet


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
    stability = _stability(clustering, e.double().numpy())
    clustering.fit(e.numpy().astype(np.float64))
    labels = clustering.labels_
    sizes = np.bincount(labels)
    k = len(sizes)
    modes = {
        "k": k,
        "sizes": sizes.tolist(),
        "shares": (sizes / sizes.sum()).tolist(),
        "silhouette": clustering.silhouettes_[k],
        "silhouettes": {str(n): value for n, value in clustering.silhouettes_.items()},
        "stability": stability,
        "labels": {str(i): int(label) for i, label in zip(ids, labels, strict=True)},
        "target": [1 / k] * k,
        "components": clustering.components_,
        "words": vocabulary.describe(e.double().numpy(), labels, encoder),
    }
    write_tensors(folder / "centers.safetensors", {"centers": torch.from_numpy(clustering.centers_).float()})
    for mode in range(k):
        members = [i for i, label in zip(ids, labels, strict=True) if label == mode][:SHEET]
        _write_sheet(folder / f"mode-{mode}.png", store.images(members))
    write_json(folder / "modes.json", modes)


def _stability(clustering: Any, e: np.ndarray) -> Entry:
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
