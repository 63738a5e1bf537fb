"""Measures a judge on labelled images, `<folder>/<attribute>/<class>/*.png`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from selfdebias.folders import hash_file
from selfdebias.judges import Judge, classify
from selfdebias.judges.confusion import Confusion
from selfdebias.metrics.judge_error import confusion_counts
from selfdebias.storage.pictures import SUFFIXES, UnreadableError, read_picture

LAYOUT = "a folder of labelled images, <attribute>/<class>/*.png"

Classes = Mapping[str, Sequence[str]]


def labelled_images(folder: Path, classes: Classes) -> dict[str, list[tuple[Path, int]]]:
    """List the labelled images of each attribute that has some, with the number of their class.

    Hidden files and folders, and files of other kinds, are passed over; no image is opened.

    Args:
        folder: the labelled folder.
        classes: the judge's, by attribute.

    Raises:
        FileNotFoundError: if there is no such folder, or no image in it.
        ValueError: if it names an attribute or class that the judge does not know.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"`evaluate.labelled` must be {LAYOUT}, got {str(folder)!r}, which is no folder.")
    found: dict[str, list[tuple[Path, int]]] = {}
    for attribute in _folders(folder):
        if attribute.name not in classes:
            raise _unknown(attribute.name, "attribute", classes)
        for named in _folders(attribute):
            if named.name not in classes[attribute.name]:
                raise _unknown(f"{attribute.name}/{named.name}", "class", classes)
            label = list(classes[attribute.name]).index(named.name)
            files = sorted(path for path in named.iterdir() if path.is_file() and _is_image(path))
            found.setdefault(attribute.name, []).extend((path, label) for path in files)
    found = {attribute: images for attribute, images in found.items() if images}
    if not found:
        raise FileNotFoundError(f"`evaluate.labelled` must be {LAYOUT}, got {str(folder)!r} without an image.")
    return found


def labelled_fingerprint(folder: Path, classes: Classes) -> str:
    """Return a sha256 over the names and bytes of the labelled images; raises as `labelled_images` does."""
    digest = hashlib.sha256()
    for images in labelled_images(folder, classes).values():
        for path, _ in images:
            digest.update(path.relative_to(folder).as_posix().encode() + hash_file(path))
    return digest.hexdigest()


def measure_confusion(
    judge: Judge, folder: Path, batch_size: int, device: torch.device | str = "cpu"
) -> dict[str, Confusion]:
    """Hold a judge against labelled images.

    Images of one call have one size; transparent ones are laid on white. A file that cannot be read is skipped and
    counted. What the judge is not sure of, by its own threshold, is counted apart.

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
        attribute: _measure(judge, attribute, images, batch_size, device, f"labelled folder `{folder.resolve().name}`")
        for attribute, images in labelled_images(folder, judge.classes).items()
    }


def _measure(
    judge: Judge, attribute: str, images: Sequence[tuple[Path, int]], batch_size: int, device: torch.device | str,
    source: str,
) -> Confusion:  # fmt: skip
    true, said, unclassified, read = [], [], 0, 0
    for pictures, labels in _batches(images, batch_size):
        predicted, unsure = classify(judge(pictures.to(device))[attribute].cpu(), judge.threshold)
        true += labels[~unsure].tolist()
        said += predicted[~unsure].tolist()
        unclassified, read = unclassified + int(unsure.sum()), read + len(labels)
    counts = confusion_counts(true, said, len(judge.classes[attribute])).astype(int).tolist()
    return Confusion(counts, unclassified, skipped=len(images) - read, source=source)


def _batches(images: Sequence[tuple[Path, int]], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (B, 3, H, W) float32 pictures of one size in [0, 1] with their labels (B,); files that cannot be read are left out."""
    waiting: dict[tuple[int, ...], list[tuple[Tensor, int]]] = {}
    for path, label in images:
        try:
            pixels = read_picture(path.read_bytes())
        except (OSError, UnreadableError):
            continue  # counted by whoever counts what comes out
        alike = waiting.setdefault(pixels.shape, [])
        alike.append((torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, label))
        if len(alike) == batch_size:
            yield _stacked(waiting.pop(pixels.shape))
    yield from map(_stacked, waiting.values())


def _stacked(labelled: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    return torch.stack([picture for picture, _ in labelled]), torch.tensor([label for _, label in labelled])


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _unknown(name: str, kind: str, classes: Classes) -> ValueError:
    known = "; ".join(f"{attribute}: {', '.join(names)}" for attribute, names in classes.items())
    return ValueError(
        f"`evaluate.labelled` must be {LAYOUT}, with the judge's attributes and classes ({known}), got the {kind} {name!r}."
    )
