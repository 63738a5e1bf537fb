"""Labelled images, `<folder>/<attribute>/<class>/*.png`, and the error of a judge on them. Listing them does not need torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.judges import Confusion, Judge, classify
from selfdebias.storage.atomic import hash_file
from selfdebias.storage.images import SUFFIXES, UnreadableError, read_picture_file, to_tensor

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STATED = "stated by the judge: "
UNKNOWN = "the judge states no error for it at this threshold, and `evaluate.labelled` has no images of it"
LAYOUT = "a folder of labelled images, <attribute>/<class>/*.png"

Classes = Mapping[str, Sequence[str]]


def check_layout(folder: Path) -> None:
    """Refuse a folder without labelled images, whatever their labels; no image is opened.

    Raises:
        FileNotFoundError: if there is no such folder, or no image where labelled ones are looked for.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"`evaluate.labelled` must be {LAYOUT}, got {str(folder)!r}, which is no folder.")
    if not any(_images(named) for attribute in _folders(folder) for named in _folders(attribute)):
        elsewhere = any(_is_image(path) for path in folder.rglob("*"))
        what = ": its images are not in <attribute>/<class>/" if elsewhere else " without an image"
        raise FileNotFoundError(f"`evaluate.labelled` must be {LAYOUT}, got {str(folder)!r}{what}.")


def labelled_images(folder: Path, classes: Classes) -> dict[str, list[tuple[Path, int]]]:
    """List the labelled images of each attribute that has some, with the number of their class.

    Hidden files and folders, and files of other kinds, are passed over; no image is opened.

    Args:
        folder: the labelled folder.
        classes: the judge's, by attribute.

    Raises:
        FileNotFoundError: as `check_layout` does.
        ValueError: if it names an attribute or class that the judge does not know.
    """
    check_layout(folder)
    found: dict[str, list[tuple[Path, int]]] = {}
    for attribute in _folders(folder):
        if attribute.name not in classes:
            raise _unknown(attribute.name, "attribute", classes)
        for named in _folders(attribute):
            if named.name not in classes[attribute.name]:
                raise _unknown(f"{attribute.name}/{named.name}", "class", classes)
            label = list(classes[attribute.name]).index(named.name)
            found.setdefault(attribute.name, []).extend((path, label) for path in _images(named))
    return {attribute: images for attribute, images in found.items() if images}


def labelled_fingerprint(folder: Path, classes: Classes) -> str:
    """Return a sha256 over the names and bytes of the labelled images; raises as `labelled_images` does."""
    digest = hashlib.sha256()
    for images in labelled_images(folder, classes).values():
        for path, _ in images:
            try:
                own = bytes.fromhex(hash_file(path)) if path.is_file() else b"no file"
            except OSError as error:  # such a file is skipped, and that is part of the outcome
                own = (error.strerror or type(error).__name__).encode()
            digest.update(path.relative_to(folder).as_posix().encode() + own)
    return digest.hexdigest()


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


def summarise_error(
    classes: Mapping[str, Sequence[str]], stated: Mapping[str, Confusion], measured: Mapping[str, Confusion]
) -> dict[str, dict[str, Any]]:
    """State the judge's error on each attribute, or why it is not known.

    Args:
        classes: the judge's, by attribute.
        stated: what the judge says of its own error, by attribute.
        measured: on labelled images, by attribute; goes before what is stated.

    Returns:
        by attribute, `counts` (C, C) with the true class as the row, `accuracy`, `n`, `unclassified`, `skipped` and
        `source`; or null with the reason.

    Example:
        >>> sides = {"side": ["heads", "tails"], "metal": ["gold", "tin"]}
        >>> error = summarise_error(sides, {}, {"side": Confusion([[3, 1], [0, 4]], 2, 0, "labelled folder coins")})
        >>> error["side"]
        {'counts': [[3, 1], [0, 4]], 'accuracy': 0.875, 'n': 8, 'unclassified': 2, 'skipped': 0, 'source': 'labelled folder coins'}
        >>> error["metal"]["value"] is None
        True
    """
    told = {name: (it, f"{STATED}{it.source}") for name, it in stated.items()}
    told |= {name: (it, it.source) for name, it in measured.items()}
    none = {"value": None, "reason": UNKNOWN}
    return {name: _entry(names, *told[name]) if name in told else none for name, names in classes.items()}


def _entry(names: Sequence[str], it: Confusion, source: str) -> dict[str, Any]:
    left_out = {"n": it.n, "unclassified": it.unclassified, "skipped": it.skipped, "source": source}
    empty = [name for name, row in zip(names, it.counts, strict=True) if not sum(row)]
    if empty:
        return {"value": None, "reason": f"no labelled image of {', '.join(empty)} was classified", **left_out}
    return {"counts": it.counts, "accuracy": it.accuracy, **left_out}


def _measure(
    judge: Judge, attribute: str, images: Sequence[tuple[Path, int]], batch_size: int, device: torch.device | str,
    folder: Path,
) -> Confusion:  # fmt: skip
    n_classes, unclassified = len(judge.classes[attribute]), 0
    counts = [[0] * n_classes for _ in range(n_classes)]
    unread: dict[Path, str] = {}
    for pictures, labels in _batches(images, batch_size, unread):
        predicted, unsure = classify(judge(pictures.to(device))[attribute].cpu(), judge.threshold)
        for true, called in zip(labels[~unsure].tolist(), predicted[~unsure].tolist(), strict=True):
            counts[true][called] += 1
        unclassified += int(unsure.sum())
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
        alike.append((to_tensor(pixels), label))
        if len(alike) == batch_size:
            yield _stacked(waiting.pop(pixels.shape))
    yield from map(_stacked, waiting.values())


def _stacked(labelled: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    import torch

    return torch.stack([picture for picture, _ in labelled]), torch.tensor([label for _, label in labelled])


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_image(path))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _unknown(name: str, kind: str, classes: Classes) -> ValueError:
    known = "; ".join(f"{attribute}: {', '.join(names)}" for attribute, names in classes.items())
    return ValueError(
        f"`evaluate.labelled` must be {LAYOUT}, with the judge's attributes and classes ({known}), got the {kind} {name!r}."
    )
