"""What a discover stage leaves: ``modes.json``, ``centers.safetensors`` and a contact sheet of each mode, or side of an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfdebias.jobs.stages.collect import CollectedImages
from selfdebias.modes.estimator import ONE_MODE
from selfdebias.modes.placement import cells_of
from selfdebias.storage.atomic import write_bytes, write_json, write_tensors
from selfdebias.storage.images import contact_sheet

SHEET = 48  # images on a contact sheet
PALE = 0.92  # grey of a sheet without an image


def write_modes(
    folder: Path, images: CollectedImages, labels: np.ndarray, centers: np.ndarray, offsets: np.ndarray, facts: Mapping[str, Any]
) -> None:  # fmt: skip
    """Write what is known of K modes.

    Args:
        folder: the stage's own folder.
        images: N images.
        labels: (N,) int, the mode of each.
        centers: (K, d) unit centres among the embeddings.
        offsets: (K, d), the mean of each mode less that of its prompt.
        facts: what else goes into ``modes.json``.
    """
    k, sizes = len(centers), np.bincount(labels, minlength=len(centers))
    if k == 1:
        print(f"discover: {ONE_MODE}", flush=True)
    tensors = {"centers": centers, "offsets": offsets}
    write_tensors(folder / "centers.safetensors", {name: torch.from_numpy(x).float() for name, x in tensors.items()})
    for mode in range(k):
        _write_sheet(folder / f"mode-{mode}.png", images, labels == mode)
    modes = {"k": k, "sizes": sizes.tolist(), "shares": (sizes / sizes.sum()).tolist(), "target": [1 / k] * k}
    write_json(folder / "modes.json", {**facts, **modes, "labels": _by_id(labels)})


def write_sides(
    folder: Path, images: CollectedImages, sides: np.ndarray, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> None:  # fmt: skip
    """Write what is known of A axes, as `write_modes` does of modes: mode 2 a + s is side s of axis a.

    ``labels`` in ``modes.json`` is the cell of each image, which its sides of all axes make together.

    Args:
        folder: the stage's own folder.
        images: N images.
        sides: (N, A) int64, 0 or 1; no image may be on a side.
        tensors: ``centers`` (2 A, d), ``origin`` (d,) and ``duals`` (A, d).
        facts: what else goes into ``modes.json``.
    """
    on_side = [sides[:, a] == s for a in range(sides.shape[1]) for s in (0, 1)]
    k, sizes = len(on_side), [int(those.sum()) for those in on_side]
    write_tensors(folder / "centers.safetensors", {name: torch.from_numpy(x).double() for name, x in tensors.items()})
    for mode, those in enumerate(on_side):
        _write_sheet(folder / f"mode-{mode}.png", images, those)
    shares = [size / len(sides) for size in sizes]
    modes = {"k": k, "sizes": sizes, "shares": shares, "target": [0.5] * k, "depths": [0] * k}
    write_json(folder / "modes.json", {**facts, **modes, "labels": _by_id(cells_of(sides))})


def _by_id(labels: Sequence[int] | np.ndarray) -> dict[str, int]:
    return {str(i): int(label) for i, label in enumerate(labels)}


def _write_sheet(path: Path, images: CollectedImages, those: np.ndarray) -> None:
    """Write the sheet of some images, `those` (N,) bool; a grey one where there are none."""
    members = np.flatnonzero(those)[:SHEET].tolist()
    shown = images.images(members) if members else torch.full_like(images.images([0]), PALE)
    buffer = BytesIO()
    contact_sheet(shown, columns=12).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
