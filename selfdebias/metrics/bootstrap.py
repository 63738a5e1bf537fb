"""Percentile intervals by resampling whole blocks: images of one guided batch depend on each other, batches do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Bounds of a statistic, None where fewer than two blocks leave nothing to resample, and the number of blocks.

    With few blocks a percentile interval is too narrow (four batches cover about 0.8 in place of 0.95), so `blocks`
    travels with the bounds.
    """

    low: float | None
    high: float | None
    blocks: int


def block_sums(values: ArrayLike, blocks: ArrayLike) -> Array:
    """Sum the rows of each block.

    Args:
        values: (N, D), or (N,) for D = 1.
        blocks: (N,) integers that name each row's block.

    Returns:
        (B, D) float64, blocks in rising order of their names.

    Example:
        >>> block_sums([[1, 0], [0, 1], [1, 0]], [7, 3, 7]).tolist()
        [[0.0, 1.0], [2.0, 0.0]]
    """
    values = np.asarray(values, dtype=np.float64)
    values = values.reshape(len(values), int(np.prod(values.shape[1:])))
    names, index = np.unique(np.asarray(blocks), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, index, values)
    return sums


@dataclass(frozen=True)
class BlockBootstrap:
    """Percentile bootstrap over blocks.

    Args:
        repeats: number of resamples, at least 1; 1000 and more for a figure to be reported.
        seed: of the resampling.
        level: coverage aimed at, in (0, 1).
    """

    repeats: int = 1000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"`repeats` must be at least 1, got {self.repeats}.")
        if not 0 < self.level < 1:
            raise ValueError(f"`level` must be between 0 and 1, got {self.level}.")

    def weights(self, n_blocks: int, stream: int = 0) -> Array:
        """Draw how often each block occurs in each resample.

        Args:
            n_blocks: B, at least 1.
            stream: another number for another population, so that both are resampled independently.

        Returns:
            (repeats, B) float64 counts, each row of sum B.
        """
        generator = np.random.default_rng([self.seed, stream])
        return generator.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=self.repeats).astype(np.float64)

    def interval(self, sums: Array, statistic: Callable[[Array], Array]) -> Interval:
        """Bound a statistic that is a function of sums over images.

        Args:
            sums: (B, D) sums of each block.
            statistic: maps sums (repeats, D) to values (repeats,).

        Example:
            >>> sums = np.array([[8.0, 10.0], [6.0, 10.0], [7.0, 10.0]])
            >>> interval = BlockBootstrap(repeats=200).interval(sums, lambda total: total[:, 0] / total[:, 1])
            >>> interval.low >= 0.6, interval.high <= 0.8, interval.blocks
            (True, True, 3)
        """
        if len(sums) < 2:
            return Interval(None, None, len(sums))
        return self.percentiles(statistic(self.weights(len(sums)) @ sums), len(sums))

    def percentiles(self, values: Array, blocks: int) -> Interval:
        """Cut the resampled values, (repeats,), at both ends; resamples without a value (NaN) are left out."""
        values = values[np.isfinite(values)]
        if blocks < 2 or not len(values):
            return Interval(None, None, blocks)
        tail = (1 - self.level) / 2
        low, high = np.quantile(values, [tail, 1 - tail])
        return Interval(float(low), float(high), blocks)
