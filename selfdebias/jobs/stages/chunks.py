"""The images of several folders, each decoded once, paired samples together, and no more than a chunk in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from selfdebias.metrics.preservation import psnr
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.image_folder import ImageFolder
from selfdebias.storage.images import UnreadableError, to_tensor

Pixels = NDArray[np.uint8]
Place = tuple[int, int]  # folder, row


class StageImages(ImageFolder):
    """The images of a stage of the same job: where other folders skip a damaged file, here it is an error.

    Args:
        path: The stage's folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.store = BatchFolder.open(path)

    def read(self, row: int) -> Pixels:
        """See `ImageFolder.read`.

        Raises:
            StorageError: If a file is not what the stage left.
        """
        (image,) = self.store.images([self.files[row].id])
        return (image * 255).round().byte().movedim(0, -1).numpy()


class Chunks(Dataset[dict[str, Any]]):
    """The images of several folders, by groups of one seed, as many groups a chunk as images fit into a batch.

    Args:
        folders: The first holds the paired samples of the others, and says the order.
        size: Groups in a chunk, at least 1.
    """

    def __init__(self, folders: Sequence[ImageFolder], size: int) -> None:
        self.folders, self.size = folders, size
        groups: dict[int, list[Place]] = {}
        for place, folder in enumerate(folders):
            for row, file in enumerate(folder.files):
                groups.setdefault(file.seed, []).append((place, row))
        self.groups = list(groups.values())

    def __len__(self) -> int:
        return -(-len(self.groups) // self.size)

    def __getitem__(self, chunk: int) -> dict[str, Any]:
        """Return `parts`, images of one folder and size each (see `_part`), and `skipped`: (folder, row, reason)."""
        groups = self.groups[chunk * self.size : (chunk + 1) * self.size]
        pictures: dict[Place, Pixels] = {}
        skipped: list[tuple[int, int, str]] = []
        for place, row in (member for group in groups for member in group):
            try:
                pictures[place, row] = self.folders[place].read(row)
            except UnreadableError as error:
                skipped.append((place, row, str(error)))
        twins = {member: pictures.get(group[0]) for group in groups for member in group if group[0][0] == 0}
        alike: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for (place, row), pixels in pictures.items():
            alike.setdefault((place, pixels.shape), []).append(row)
        return {
            "parts": [_part(place, rows, pictures, twins) for (place, _), rows in alike.items()],
            "skipped": skipped,
        }


def _part(
    place: int, rows: Sequence[int], pictures: Mapping[Place, Pixels], twins: Mapping[Place, Pixels | None]
) -> dict[str, Any]:
    """Return `set`, `rows`, and B images of one size as `image`, (B, 3, H, W) float32 in [0, 1].

    Beside them `black` (B,) bool, images without a single other pixel, `grey` (B,) bool, other images of greys alone, and,
    but for the first folder, `psnr` (B,) float64. NumPy arrays stay on the CPU, whatever the device.
    """
    pixels = [pictures[place, row] for row in rows]
    part = {
        "set": place,
        "rows": np.array(rows),
        "image": to_tensor(np.stack(pixels)),
        "black": np.array([not it.any() for it in pixels]),
        "grey": np.array([bool(it.any() and (it == it[:, :, :1]).all()) for it in pixels]),
    }
    return part if place == 0 else part | {"psnr": _psnr(pixels, [twins.get((place, row)) for row in rows])}


def _psnr(pixels: Sequence[Pixels], twins: Sequence[Pixels | None]) -> NDArray[np.float64]:
    values = np.full(len(pixels), np.nan)
    pairs = {i: twin for i, twin in enumerate(twins) if twin is not None and twin.shape == pixels[i].shape}
    if pairs:
        values[[*pairs]] = psnr(
            to_tensor(np.stack([pixels[i] for i in pairs])), to_tensor(np.stack([*pairs.values()]))
        ).numpy()
    return values
