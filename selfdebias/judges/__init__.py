"""Judges: from images to the probabilities of named attributes. Measurement only; no method ever sees a judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from selfdebias.storage.atomic import read_json
from selfdebias.testbed import shipped

if TYPE_CHECKING:  # the classes of a judge are asked for before torch is there
    from torch import Tensor

Classes = Mapping[str, tuple[str, ...]]


@runtime_checkable
class Judge(Protocol):
    """What evaluation asks of a judge.

    Attributes:
        classes: the fixed classes of each attribute, in the order of the probabilities.
        threshold: confidence, in [0, 1], below which an image counts as unclassified.
        encoder_id: the image encoder that the judge rests on, None if it has one of its own. Where the modes were found
            with the same encoder, agreement between them is circular and the results say so.

    A judge may also state its own error, as `confusion: Mapping[str, Confusion] | None`, by attribute; without it
    nothing is known but what is measured on labelled images.

    A judge may also say what it sees, as `features(images)`, (B, d) floats: those of its last layer but one. Guidance
    does not act on them, so quality is measured in them too. With `from_features(features)`, which gives what the
    judge says of images with these features, images pass through it once for both.
    """

    classes: Mapping[str, tuple[str, ...]]
    threshold: float
    encoder_id: str | None

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return (B, C) float32 probabilities for each attribute, from (B, 3, H, W) float32 images in [0, 1]."""
        ...


@dataclass(frozen=True)
class Confusion:
    """A judge's error on one attribute: how often images of each class were called by each, and which were left out.

    Args:
        counts: (C, C) numbers of classified images, in the order of the judge's classes; the row is the true class.
        unclassified: images that no class was sure enough of; not in `counts`, as in the shares that are corrected.
        skipped: files that could not be read.
        source: which images they were, in words.
        unread: name and reason of those files, where they are known.

    Raises:
        ValueError: if the counts are no square matrix of numbers of at least 0.

    Example:
        >>> it = Confusion([[3, 1], [0, 4]], unclassified=2, skipped=0, source="eight photos")
        >>> it.n, it.accuracy
        (8, 0.875)
    """

    counts: list[list[int]]
    unclassified: int
    skipped: int
    source: str
    unread: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.counts) for row in self.counts) or min(min(row) for row in self.counts) < 0:
            raise ValueError(f"`counts` must be a square matrix of numbers of at least 0, got {self.counts}.")

    @property
    def n(self) -> int:
        """Number of classified images."""
        return int(sum(sum(row) for row in self.counts))

    @property
    def accuracy(self) -> float:
        """Share of classified images that were called what they are; NaN where there are none."""
        return sum(row[c] for c, row in enumerate(self.counts)) / self.n if self.n else float("nan")


def classify(probabilities: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Take the likeliest class of each image, and tell which images no class is sure of.

    Args:
        probabilities: (B, C) float in [0, 1].
        threshold: in [0, 1]; an image whose largest probability is below it is unclassified.

    Returns:
        labels (B,) int64 and unclassified (B,) bool. An unclassified image keeps its likeliest label: mask it.

    Raises:
        ValueError: if `threshold` is out of range or `probabilities` is not a matrix.

    Example:
        >>> import torch
        >>> labels, unclassified = classify(torch.tensor([[0.9, 0.1], [0.45, 0.55]]), threshold=0.6)
        >>> labels.tolist(), unclassified.tolist()
        ([0, 1], [False, True])
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be between 0 and 1, got {threshold}.")
    if probabilities.ndim != 2:
        raise ValueError(f"`probabilities` must have shape (B, C), got {tuple(probabilities.shape)}.")
    confidence, labels = probabilities.max(dim=1)
    return labels, confidence < threshold


def emoji_folder(folder: str | None) -> Path:
    """The folder of Emoji World's judge; None means the shipped one."""
    return Path(folder) if folder else shipped("emoji_judge")


def emoji_classes(folder: str | None) -> Classes:
    """The classes of Emoji World's judge, by attribute, from its ``config.json``.

    Raises:
        FileNotFoundError, StorageError, ValueError: If the folder has none, or no weights beside them.

    Example:
        >>> emoji_classes(None)["gender"]
        ('man', 'woman')
    """
    file = emoji_folder(folder) / "config.json"
    classes = read_json(file).get("classes")
    if not isinstance(classes, dict) or not all(
        isinstance(names, list) and len(names) > 1 for names in classes.values()
    ):
        words = "an EmojiJudge's, with `classes` by attribute in its config.json"
        raise ValueError(f"`judge.folder` must be {words}, got {file.parent}.")
    if not (file.parent / "model.safetensors").is_file():
        raise FileNotFoundError(f"`judge.folder` must be a folder with a model.safetensors, got {file.parent}.")
    return {name: tuple(map(str, names)) for name, names in classes.items()}


def known_classes(judge: Mapping[str, Any]) -> Classes | None:
    """The classes of a configured judge, None where only its own code knows them.

    Raises:
        FileNotFoundError: As `emoji_classes` does.

    Example:
        >>> known_classes({"_target_": "x.ClipZeroShotJudge", "attributes": {"side": {"left": "a left", "right": "a right"}}})
        {'side': ('left', 'right')}
    """
    name, attributes = str(judge["_target_"]).rpartition(".")[2], judge.get("attributes")
    if name == "EmojiJudge" and isinstance(judge.get("folder"), str | None):
        return emoji_classes(judge.get("folder"))
    if name != "ClipZeroShotJudge" or not isinstance(attributes, Mapping):
        return None
    texts = {attribute: tuple(it) for attribute, it in attributes.items() if isinstance(it, Mapping)}
    return texts if len(texts) == len(attributes) else None


__all__ = ["Confusion", "Judge", "classify", "emoji_classes", "emoji_folder", "known_classes"]
