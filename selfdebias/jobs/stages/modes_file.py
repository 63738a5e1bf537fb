"""What a discover stage leaves: ``modes.json``, ``centers.safetensors`` and a contact sheet of each mode, or side of an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfdebias.jobs.stages.collected import CollectedImages
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
    k = len(centers)
    if k == 1:
        print(f"discover: {ONE_MODE}", flush=True)
    tensors = {"centers": torch.from_numpy(centers).float(), "offsets": torch.from_numpy(offsets).float()}
    _write(folder, images, [labels == mode for mode in range(k)], labels, tensors, {**facts, "target": [1 / k] * k})


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
    members = [sides[:, a] == s for a in range(sides.shape[1]) for s in (0, 1)]
    double = {name: torch.from_numpy(x).double() for name, x in tensors.items()}
    even = {"target": [0.5] * len(members), "depths": [0] * len(members)}
    _write(folder, images, members, cells_of(sides), double, {**facts, **even})


def _write(
    folder: Path, images: CollectedImages, members: Sequence[np.ndarray], labels: np.ndarray, tensors: Mapping[str, torch.Tensor],
    facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write all files; `members` (N,) bool are the images of each mode, or side, whose sheet is grey where there are none."""
    write_tensors(folder / "centers.safetensors", dict(tensors))
    for mode, those in enumerate(members):
        shown = np.flatnonzero(those)[:SHEET].tolist()
        pictures = images.images(shown) if shown else torch.full_like(images.images([0]), PALE)
        buffer = BytesIO()
        contact_sheet(pictures, columns=12).save(buffer, format="PNG")
        write_bytes(folder / f"mode-{mode}.png", buffer.getvalue())
    sizes = [int(those.sum()) for those in members]
    modes = {"k": len(members), "sizes": sizes, "shares": [size / len(labels) for size in sizes]}
    by_id = {str(i): int(label) for i, label in zip(images.numbers, labels, strict=True)}
    write_json(folder / "modes.json", {**facts, **modes, "labels": by_id})
