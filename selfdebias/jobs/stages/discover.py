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
from selfdebias.modes.axes import FactorialAxes
from selfdebias.modes.axis_sides import cells_of
from selfdebias.modes.estimator import ONE_MODE, RESIDUAL
from selfdebias.modes.sphere import centers_among, mean_offsets, nearest, residual, unit
from selfdebias.storage.atomic import write_bytes, write_json, write_tensors
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import contact_sheet

VERSION = 5
CONFIG = ("clustering", "vocabulary", "discover")
SHEET = 48  # images on a contact sheet
PALE = 0.92  # grey of a sheet without an image


def discover(folder: Path, collected: Path, clustering: Any, vocabulary: Any, encoder: Any) -> None:
    """Write ``modes.json``, the modes' centres and a contact sheet of each.

    Args:
        folder: the stage's own folder.
        collected: folder of the collect stage.
        clustering: a `ModeEstimator`, or `FactorialAxes`. In the space `residual` it sees each embedding less the mean of its
            prompt's; the centres that are written lie among the embeddings, where images of any prompt can be held against them.
        vocabulary: finds the captions that tell the modes apart.
        encoder: the one that collect used; its text tower reads the captions.
    """
    store = BatchFolder.open(collected)
    ids, e = read_embeddings(store)
    X = e.double().numpy()
    if isinstance(clustering, FactorialAxes):
        clustering.fit(X)
        write_axes(folder, ids, X, clustering, vocabulary, encoder, store.images)
        return
    prompt_of = prompts_of(store, ids)
    apart = unit(residual(X, prompt_of)) if clustering.space == RESIDUAL else X
    clustering.fit(apart)
    labels = clustering.labels_
    centers = centers_among(X, labels, prompt_of) if clustering.space == RESIDUAL else clustering.centers_
    facts = {
        **facts_of(clustering),
        "stability": stability_of(clustering, apart),
        "placed": float(np.mean(nearest(X, centers) == labels)),
        "words": vocabulary.describe(X, labels, encoder),
    }
    write_modes(folder, ids, labels, centers, mean_offsets(X, labels, prompt_of), facts, store.images)


def write_modes(
    folder: Path, ids: Sequence[int], labels: np.ndarray, centers: np.ndarray, offsets: np.ndarray,
    facts: Mapping[str, Any], images: Callable[[Sequence[int]], Tensor],
) -> None:  # fmt: skip
    """Write what is known of K modes: ``modes.json``, ``centers.safetensors`` and a contact sheet of each.

    Args:
        folder: the stage's own folder.
        ids: of N images.
        labels: (N,) int, the mode of each.
        centers: (K, d) unit centres among the embeddings.
        offsets: (K, d), the mean of each mode less that of its prompt.
        facts: what else goes into ``modes.json``.
        images: reads images, (n, 3, H, W), by their ids.
    """
    k, sizes = len(centers), np.bincount(labels, minlength=len(centers))
    modes = {
        **facts,
        "k": k,
        "sizes": sizes.tolist(),
        "shares": (sizes / sizes.sum()).tolist(),
        "target": [1 / k] * k,
        "labels": {str(i): int(label) for i, label in zip(ids, labels, strict=True)},
    }
    if k == 1:
        print(f"discover: {ONE_MODE}", flush=True)
    tensors = {"centers": centers, "offsets": offsets}
    write_tensors(folder / "centers.safetensors", {name: torch.from_numpy(x).float() for name, x in tensors.items()})
    for mode in range(k):
        members = [i for i, label in zip(ids, labels, strict=True) if label == mode][:SHEET]
        _write_members(folder / f"mode-{mode}.png", members, ids, images)
    write_json(folder / "modes.json", modes)


def write_axes(
    folder: Path, ids: Sequence[int], X: np.ndarray, axes: FactorialAxes, vocabulary: Any, encoder: Any,
    images: Callable[[Sequence[int]], Tensor],
) -> None:  # fmt: skip
    """Write what is known of A axes, as `write_modes` does of modes: mode 2 a + s is side s of axis a.

    ``labels`` in ``modes.json`` is the cell of each image, which its sides of all axes make together; ``axes`` has of each the
    ``recurrence`` and the ``agreement`` with which it came back. A model without an axis has one mode.

    Args:
        folder: the stage's own folder.
        ids: of N images.
        X: (N, d) their embeddings.
        axes: fitted to them.
        vocabulary: finds the captions that tell the two sides of an axis apart.
        encoder: the one whose embeddings they are; its text tower reads the captions.
        images: reads images, (n, 3, H, W), by their ids.
    """
    sides = axes.sides_
    count = sides.shape[1]
    if not count:
        facts = {
            "depths": [0],
            "silhouette": missing(ONE_MODE),
            "stability": missing(ONE_MODE, n=len(X)),
            "words": [[]],
        }
        center = unit(X.mean(axis=0, keepdims=True))
        write_modes(folder, ids, np.zeros(len(X), dtype=np.int64), center, np.zeros_like(center), facts, images)
        return
    facts = {
        "space": axes.space,
        "axes": [
            {"recurrence": float(r), "agreement": float(g)}
            for r, g in zip(axes.recurrence_, axes.agreement_, strict=True)
        ],
        "silhouette": missing("axes are no partition"),
        "stability": measured(float(axes.agreement_.mean()), n=len(X)),
        "words": [words for a in range(count) for words in vocabulary.describe(X, sides[:, a], encoder)],
    }
    means = [X[sides[:, a] == s].mean(axis=0) for a in range(count) for s in (0, 1)]
    tensors = {"centers": unit(np.stack(means)), "origin": axes.origin_, "duals": axes.duals_}
    write_sides(folder, ids, sides, tensors, facts, images)


def write_sides(
    folder: Path, ids: Sequence[int], sides: np.ndarray, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any],
    images: Callable[[Sequence[int]], Tensor],
) -> None:  # fmt: skip
    """Write on which side of each axis images are, and the axes.

    Args:
        folder: the stage's own folder.
        ids: of N images.
        sides: (N, A) int64, 0 or 1; no image may be on a side.
        tensors: ``centers`` (2 A, d), ``origin`` (d,) and ``duals`` (A, d).
        facts: what else goes into ``modes.json``.
        images: reads images, (n, 3, H, W), by their ids.
    """
    places = [(a, s) for a in range(sides.shape[1]) for s in (0, 1)]
    sizes = [int((sides[:, a] == s).sum()) for a, s in places]
    modes = {
        **facts,
        "k": len(places),
        "sizes": sizes,
        "shares": [size / len(sides) for size in sizes],
        "target": [0.5] * len(places),
        "depths": [0] * len(places),
        "labels": {str(i): int(cell) for i, cell in zip(ids, cells_of(sides), strict=True)},
    }
    write_tensors(folder / "centers.safetensors", {name: torch.from_numpy(x).double() for name, x in tensors.items()})
    for mode, (a, s) in enumerate(places):
        members = [i for i, side in zip(ids, sides[:, a], strict=True) if side == s][:SHEET]
        _write_members(folder / f"mode-{mode}.png", members, ids, images)
    write_json(folder / "modes.json", modes)


def facts_of(clustering: Any) -> dict[str, Any]:
    """Return what ``modes.json`` says of how a fitted clustering came to its modes.

    Returns:
        ``depths`` by mode; ``silhouette``, null with a reason for one mode; ``silhouettes`` and ``stabilities`` of each k tried;
        ``noise``, images that were in no mode and went to the nearest; ``components`` of the graph; the ``space``.
    """
    silhouette = clustering.silhouette_
    return {
        "depths": clustering.depths_.tolist(),
        "silhouette": missing(ONE_MODE) if silhouette is None else silhouette,
        "space": clustering.space,
        "silhouettes": {str(n): value for n, value in clustering.silhouettes_.items()},
        "stabilities": {str(n): value for n, value in clustering.stabilities_.items()},
        "noise": clustering.noise_,
        "components": clustering.components_,
    }


def stability_of(clustering: Any, e: np.ndarray) -> Entry:
    """How far modes of two halves of the images agree, for a fitted clustering; null for one mode, and for too few images."""
    k = len(clustering.centers_)
    if k == 1:
        return missing(ONE_MODE, n=len(e))
    if k in clustering.stabilities_:  # k was chosen by it, and fitting the halves anew would choose k once more in each
        return measured(clustering.stabilities_[k], n=len(e))
    try:
        return measured(mode_stability(lambda: deepcopy(clustering), e, seed=0), n=len(e))
    except ValueError as error:
        return missing(f"half of the images: {error}", n=len(e))


def read_embeddings(store: BatchFolder) -> tuple[list[int], Tensor]:
    """Return ids, sorted, and the embeddings (N, d) in their order."""
    by_id = {record["id"]: (record["batch"], place) for record, place in _places(store)}
    tensors = dict(store.tensors(("e",)))
    ids = sorted(by_id)
    return ids, torch.stack([tensors[batch]["e"][place] for batch, place in (by_id[i] for i in ids)])


def prompts_of(store: BatchFolder, ids: list[int]) -> list[str]:
    """Return the prompt of each image, in the order of `ids`."""
    by_id = {record["id"]: record["prompt"] for record in store.records()}
    return [by_id[i] for i in ids]


def _places(store: BatchFolder):
    seen: dict[int, int] = {}
    for record in store.records():
        place = seen.setdefault(record["batch"], 0)
        seen[record["batch"]] += 1
        yield record, place


def _write_members(
    path: Path, members: Sequence[int], ids: Sequence[int], images: Callable[[Sequence[int]], Tensor]
) -> None:
    """Write the sheet of a mode's images; a grey one where none of the prompt's, `ids`, are in it."""
    _write_sheet(path, images(members) if members else torch.full_like(images([ids[0]]), PALE))


def _write_sheet(path: Path, images: Tensor) -> None:
    buffer = BytesIO()
    contact_sheet(images, columns=12).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
