"""Measures a judge on labelled images, `<folder>/<attribute>/<class>/*.png`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selfdebias.judges import Judge, classify
from selfdebias.judges.confusion import Confusion
from selfdebias.judges.judge_error import confusion_counts
from selfdebias.storage.labelled_folder import labelled_images
from selfdebias.storage.pictures import UnreadableError, read_picture_file


def measure_confusion(
    judge: Judge, folder: Path, batch_size: int, device: torch.device | str = "cpu"
) -> dict[str, Confusion]:
    """Hold a judge against labelled images.

    Images of one call have one size; transparent ones are laid on white. A file that cannot be read is skipped, counted
    and named. What the judge is not sure of, by its own threshold, is counted apart.

    Args:
        judge: images to probabilities.
        folder: `<folder>/<attribute>/<class>/*.png` (or jpg, jpeg, webp, bmp); attributes without a folder are absent.
        batch_size: images in one call, at least 1.
        device: where the images are put.

    Returns:
        by labelled attribute, its confusion matrix.

    Raises:
        FileNotFoundError, ValueError: as `labelled_images` does; also if `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    folder = Path(folder)
    return {
        attribute: _measure(judge, attribute, images, batch_size, device, folder)
        for attribute, images in labelled_images(folder, judge.classes).items()
    }


def skipped_labels(measured: Mapping[str, Confusion]) -> dict[str, Any]:
    """State the labelled files that could not be read, as `results.json` has those of an arm's folder."""
    files = [{"file": name, "reason": reason} for it in measured.values() for name, reason in it.unread]
    return {"n": len(files), "files": files}


def _measure(
    judge: Judge, attribute: str, images: Sequence[tuple[Path, int]], batch_size: int, device: torch.device | str,
    folder: Path,
) -> Confusion:  # fmt: skip
    true, said, unclassified = [], [], 0
    unread: dict[Path, str] = {}
    for pictures, labels in _batches(images, batch_size, unread):
        predicted, unsure = classify(judge(pictures.to(device))[attribute].cpu(), judge.threshold)
        true += labels[~unsure].tolist()
        said += predicted[~unsure].tolist()
        unclassified += int(unsure.sum())
    counts = confusion_counts(true, said, len(judge.classes[attribute])).astype(int).tolist()
    names = tuple((path.relative_to(folder).as_posix(), reason) for path, reason in unread.items())
    return Confusion(counts, unclassified, len(names), f"labelled folder `{folder.resolve().name}`", names)


def _batches(
    images: Sequence[tuple[Path, int]], batch_size: int, unread: dict[Path, str]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (B, 3, H, W) float32 pictures of one size in [0, 1] with their labels (B,).

    Files that cannot be read are put into `unread` with the reason.
    """
    waiting: dict[tuple[int, ...], list[tuple[Tensor, int]]] = {}
    for path, label in images:
        try:
            pixels = read_picture_file(path)
        except UnreadableError as error:
            unread[path] = str(error)
            continue
        alike = waiting.setdefault(pixels.shape, [])
        alike.append((torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, label))
        if len(alike) == batch_size:
            yield _stacked(waiting.pop(pixels.shape))
    yield from map(_stacked, waiting.values())


def _stacked(labelled: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    return torch.stack([picture for picture, _ in labelled]), torch.tensor([label for _, label in labelled])
