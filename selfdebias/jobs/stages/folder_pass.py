"""One pass over the images of several folders: each is decoded once, twins together, and no more than a chunk is in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from selfdebias.metrics.preservation import psnr
from selfdebias.storage.image_folder import ImageFolder
from selfdebias.storage.images import UnreadableError, to_tensor

Pixels = NDArray[np.uint8]
Place = tuple[int, int]  # folder, row


@dataclass(frozen=True)
class Looked:
    """What was seen of one folder.

    Args:
        records: Of each image that could be read, N in the order of the folder: `id`, `seed`, `prompt`, `batch`, `blanked`.
        outputs: By name, (N, ...) float64 in the same order; `psnr` in dB against the twin in the first folder, NaN where
            there is no twin of the same size.
        names: Name of each of the N images.
        skipped: `n`, and for each file that could not be read its name and the `reason`.
        without_colour: Number of images of greys alone, black ones not among them.
    """

    records: list[dict[str, Any]]
    outputs: dict[str, NDArray[np.float64]]
    names: list[str]
    skipped: dict[str, Any]
    without_colour: int


def look_at_folders(
    evaluation: Any, folders: Mapping[str, ImageFolder], batch_size: int, trainer: Callable[..., pl.Trainer]
) -> dict[str, Looked]:
    """Lets judge and encoder look at each image once, in one `Trainer.test`.

    Args:
        evaluation: An `Evaluation` of as many sets as there are folders.
        folders: By name; the first holds the twins of the others.
        batch_size: Images of one size in a call of judge and encoder, at most.
        trainer: Makes the Trainer.
    """
    chunks = Chunks([*folders.values()], batch_size)
    looking = _Pass(evaluation, len(folders))
    loader = DataLoader(chunks, batch_size=None, collate_fn=lambda chunk: chunk)
    trainer().test(looking, dataloaders=[loader], verbose=False)
    return {name: looking.looked(place, folder) for place, (name, folder) in enumerate(folders.items())}


class Chunks(Dataset[dict[str, Any]]):
    """The images of several folders, by groups of one seed, as many groups a chunk as images fit into a batch.

    Args:
        folders: The first holds the twins of the others, and says the order.
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
                pictures[place, row] = self.folders[place].files[row].read()
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


class _Pass(pl.LightningModule):
    """Hands the parts of each chunk to an `Evaluation`, and keeps what belongs to them."""

    def __init__(self, evaluation: Any, n_sets: int) -> None:
        super().__init__()
        self.evaluation = evaluation
        self.kept: list[dict[str, list[Any]]] = [
            {"rows": [], "black": [], "grey": [], "skipped": []} for _ in range(n_sets)
        ]

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Judge and embed each part of one chunk."""
        for part in batch["parts"]:
            kept, seen = self.kept[part["set"]], self.evaluation.seen[part["set"]]
            self.evaluation.test_step({"image": part["image"]}, batch_idx, part["set"])
            kept["rows"].append(part["rows"])
            kept["black"].append(part["black"])
            kept["grey"].append(part["grey"])
            if "psnr" in part:
                seen.setdefault("psnr", []).append(torch.from_numpy(part["psnr"]))
        for place, row, reason in batch["skipped"]:
            self.kept[place]["skipped"].append((row, reason))

    def looked(self, place: int, folder: ImageFolder) -> Looked:
        """Return what was seen of one folder, in its order."""
        kept = self.kept[place]
        rows, black = np.concatenate(kept["rows"]), np.concatenate(kept["black"])
        order = np.argsort(rows)
        files = [folder.files[row] for row in rows[order]]
        records = [
            {**file.facts, "blanked": bool(dark) if file.blanked is None else file.blanked}
            for file, dark in zip(files, black[order], strict=True)
        ]
        outputs = {name: values[order] for name, values in self.evaluation.outputs(place).items()}
        unread = [{"file": folder.relative(folder.files[row]), "reason": why} for row, why in sorted(kept["skipped"])]
        names, grey = [file.name for file in files], int(np.concatenate(kept["grey"]).sum())
        return Looked(records, outputs, names, {"n": len(unread), "files": unread}, grey)
