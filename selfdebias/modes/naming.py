"""Words for modes: the captions of a vocabulary that tell each mode from the others. They steer nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfdebias.storage.atomic import sha256_of

SHIPPED = Path(__file__).parent / "vocabularies"


@dataclass(frozen=True)
class Vocabulary:
    """Captions that modes may be described with, one a line; lines that start with # are left out.

    Args:
        path: a text file in UTF-8; ``shipped:NAME`` names one that comes with the package.
        most: largest number of captions for a mode, at least 1.
        level: a caption counts if its corrected p-value is below this, in (0, 1).

    Raises:
        ValueError: if a value is out of range.
    """

    path: str
    most: int = 5
    level: float = 0.05

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"`vocabulary.most` must be at least 1, got {self.most}.")
        if not 0 < self.level < 1:
            raise ValueError(f"`vocabulary.level` must be in (0, 1), got {self.level}.")

    @property
    def file(self) -> Path:
        """The file.

        Raises:
            FileNotFoundError: if there is none.
        """
        name = self.path.removeprefix("shipped:")
        file = Path(self.path) if name == self.path else SHIPPED / f"{name}.txt"
        if not file.is_file() or (name != self.path and not name.isidentifier()):
            raise FileNotFoundError(f"`vocabulary.path` must be a text file or shipped:NAME, got {self.path!r}.")
        return file

    def fingerprint(self) -> str:
        """Return the sha256 of the file."""
        return sha256_of(self.file)

    def captions(self) -> list[str]:
        """Return the captions, in the order of the file.

        Raises:
            ValueError: if there is none.
        """
        lines = [line.strip() for line in self.file.read_text(encoding="utf-8").splitlines()]
        captions = [line for line in lines if line and not line.startswith("#")]
        if not captions:
            raise ValueError(f"`vocabulary.path` must be a file that holds a caption, got {self.path!r}.")
        return captions

    def check(self, encoder: Any) -> None:
        """Refuse an encoder that reads no captions.

        Raises:
            ValueError: if the encoder has no text tower.
        """
        if not hasattr(encoder, "embed_text"):
            raise ValueError(
                f"`vocabulary` must be none where the encoder has no text tower, got an encoder "
                f"{type(encoder).__name__}: choose vocabulary=none."
            )

    def describe(self, e: np.ndarray, labels: np.ndarray, encoder: Any) -> list[list[dict[str, Any]]]:
        """Return the captions of each mode, strongest first; arguments as in `tell_apart`.

        Raises:
            ValueError: if the encoder has no text tower.
        """
        self.check(encoder)
        captions = self.captions()
        texts = encoder.embed_text(captions).double().numpy()
        return tell_apart(e, labels, texts, captions, self.most, self.level)


@dataclass(frozen=True)
class NoVocabulary:
    """Leaves modes without words."""

    def check(self, encoder: Any) -> None:
        """Take any encoder."""

    def describe(self, e: np.ndarray, labels: np.ndarray, encoder: Any) -> list[list[dict[str, Any]]]:
        """Return an empty list for each mode."""
        return [[] for _ in range(int(labels.max()) + 1)]


def tell_apart(
    e: np.ndarray, labels: np.ndarray, texts: np.ndarray, captions: Sequence[str], most: int, level: float
) -> list[list[dict[str, Any]]]:
    """Find the captions that fit the images of a mode better than those of all other modes.

    The effect size is Cohen's d of the cosines between a caption and the images, inside against outside of the mode. Its p-value
    is Welch's, one-sided, times the number of (caption, mode) pairs tried (Bonferroni), of several axes for each by itself. The
    modes were made from the same embeddings, so it guards against chance among many captions, and is no proof that the mode is
    one.

    Args:
        e: (N, d) unit embeddings of images.
        labels: (N,) int modes, from 0.
        texts: (V, d) unit embeddings of captions.
        captions: V captions.
        most: largest number of captions for a mode.
        level: largest corrected p-value.

    Returns:
        For each mode a list of ``{"caption", "effect", "p"}``, by falling effect.

    Example:
        >>> e = np.repeat(np.eye(2), 4, axis=0) + 0.1 * np.random.default_rng(0).normal(size=(8, 2))
        >>> found = tell_apart(e, np.repeat([0, 1], 4), np.eye(2), ["left", "right"], most=3, level=0.05)
        >>> [[it["caption"] for it in mode] for mode in found]
        [['left'], ['right']]
    """
    cosines = e @ texts.T
    tried = len(captions) * (int(labels.max()) + 1)
    return [
        _of_mode(cosines[labels == k], cosines[labels != k], captions, tried, most, level)
        for k in range(labels.max() + 1)
    ]


def _of_mode(
    inside: np.ndarray, outside: np.ndarray, captions: Sequence[str], tried: int, most: int, level: float
) -> list[dict[str, Any]]:
    from scipy.stats import ttest_ind  # here, since it is slow to come and the command line checks a vocabulary at once

    if min(len(inside), len(outside)) < 2:
        return []
    spread = np.sqrt((inside.var(axis=0, ddof=1) + outside.var(axis=0, ddof=1)) / 2)
    effect = (inside.mean(axis=0) - outside.mean(axis=0)) / np.maximum(spread, 1e-12)
    p = np.minimum(1.0, tried * ttest_ind(inside, outside, equal_var=False, alternative="greater").pvalue)
    order = [int(v) for v in np.argsort(-effect, kind="stable") if p[v] < level and effect[v] > 0]
    return [{"caption": captions[v], "effect": float(effect[v]), "p": float(p[v])} for v in order[:most]]
