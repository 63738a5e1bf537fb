"""What is known of a judge's error on one attribute. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Confusion:
    """How often images of each class were called by each, and which images were left out.

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
