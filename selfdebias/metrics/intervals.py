"""Intervals of numbers over images that come in blocks: images of one guided batch depend on each other, batches do not.

Shares and means have closed forms; anything else is resampled by whole blocks. With four batches a percentile interval
covers about 0.8 in place of 0.95, and near 0 a distance is biased upwards. So the resamples give a standard error and a bias,
and Student's t with B - 1 degrees of freedom gives the width."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from selfdebias.metrics.number import Number

Array = NDArray[np.float64]
ROUNDING = 0.25  # least variance of a block's count: it is a whole number, so its mean is not known better than that


class Draws(NamedTuple):
    """A statistic of an arm: its `value`, and its values on resamples of the blocks, (repeats,)."""

    value: float
    resampled: Array


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
    """Bootstrap over blocks, with Student's t for their number.

    Args:
        repeats: number of resamples, at least 1; 1000 and more for a figure to be reported.
        seed: of the resampling.
        level: coverage aimed at, in (0, 1).

    References:
        Davison and Hinkley, Bootstrap Methods and their Application, 1997, sections 2.4 and 5.2.
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
            (repeats, B) float64 counts, each row of sum B; not to be written to.
        """
        return _weights(self.repeats, self.seed, n_blocks, stream)

    def around(self, value: float, resampled: Array, blocks: int) -> Number:
        """Bound a statistic by its value and its resamples: `value - bias +- t_(B-1) sqrt(B / (B - 1)) sd`.

        Args:
            value: of the statistic.
            resampled: (repeats,) its values on resamples; those without a value (NaN) are left out.
            blocks: B; the factor makes up for a resample's variance being (B - 1) / B of the real one.

        Example:
            >>> number = BlockBootstrap().around(0.5, np.array([0.4, 0.6]), blocks=3)
            >>> round(number.low, 2), round(number.high, 2)
            (-0.03, 1.03)
        """
        resampled = resampled[np.isfinite(resampled)]
        if blocks < 2 or not len(resampled):
            return Number.unbounded(value, blocks)
        centre = 2 * value - resampled.mean()
        width = self.t(blocks) * np.sqrt(blocks / (blocks - 1)) * resampled.std()
        return Number(value, float(centre - width), float(centre + width), blocks=blocks)

    def middle(self, value: float, drawn: Array, blocks: int) -> Number:
        """Bound a statistic by the middle `level` of values that were drawn for it, (repeats,); NaN is left out."""
        drawn = drawn[np.isfinite(drawn)]
        if blocks < 2 or not len(drawn):
            return Number.unbounded(value, blocks)
        tail = (1 - self.level) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Number(value, float(low), float(high), blocks=blocks)

    def t(self, blocks: int) -> float:
        """Return the quantile of Student's t that leaves out `1 - level` at both ends together, for B - 1 degrees."""
        return float(student.ppf((1 + self.level) / 2, blocks - 1))


@lru_cache(maxsize=64)
def _weights(repeats: int, seed: int, n_blocks: int, stream: int) -> Array:
    generator = np.random.default_rng([seed, stream])
    drawn = generator.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=repeats).astype(np.float64)
    drawn.flags.writeable = False
    return drawn


class SharePrecision(NamedTuple):
    """A share `p`, and how many independent images would tell it as well as these `blocks` do: `effective`."""

    p: float
    effective: float
    blocks: int

    def bound(self, q: ArrayLike) -> Array:
        """Return Wilson's bound at q standard errors: `(p + q^2/2n + q sqrt(p (1-p)/n + q^2/4n^2)) / (1 + q^2/n)`."""
        q, n = np.asarray(q, dtype=np.float64), self.effective
        root = np.sqrt(self.p * (1 - self.p) / n + np.square(q) / (4 * n**2))
        return ((self.p + np.square(q) / (2 * n) + q * root) / (1 + np.square(q) / n)).clip(0, 1)


def share_precision(sums: ArrayLike) -> SharePrecision:
    """Estimate a share and its effective number of images, `n p (1 - p) / V`, from the scatter of the blocks.

    `V = B/(B-1) sum_b (s_b - p n_b)^2 / n`, at least what a whole number leaves open: batches that are balanced to
    the image all show the same count, and yet the share behind them is not known exactly.

    Args:
        sums: (B, 2): of each block the count (or sum of probabilities) `s_b`, and its images `n_b`; blocks without an
            image count not.

    Raises:
        ValueError: if there are fewer than two blocks with images.

    References:
        Kish, Survey Sampling, 1965 (design effect).

    Example:
        >>> share_precision([[1, 1], [0, 1], [1, 1], [0, 1]])._replace(effective=3)
        SharePrecision(p=0.5, effective=3, blocks=4)
    """
    sums = _with_images(sums)
    if len(sums) < 2:
        raise ValueError(f"`sums` must have at least two blocks with images, got {len(sums)}.")
    n = sums[:, 1].sum()
    p = min(max(sums[:, 0].sum() / n, 0.0), 1.0)
    spread = p * (1 - p)
    if spread == 0:
        return SharePrecision(p, n, len(sums))
    scatter = len(sums) / (len(sums) - 1) * np.square(sums[:, 0] - p * sums[:, 1]).sum()
    rounding = np.minimum(ROUNDING, sums[:, 1] * spread).sum()
    return SharePrecision(float(p), float(n * n * spread / max(scatter, rounding)), len(sums))


def share_interval(sums: ArrayLike, level: float = 0.95) -> Number:
    """Bound a share by Wilson's interval at the effective number of images, with Student's t for the blocks.

    Args:
        sums: (B, 2), as for `share_precision`.
        level: coverage aimed at, in (0, 1).

    Returns:
        the share with its interval; without bounds for fewer than two blocks.

    References:
        Wilson, 1927; Dean and Pagano, Evaluating Confidence Interval Methods for Binomial Proportions in Clustered
        Surveys, 2015. Its coverage under dependence: experiments/results/coverage.md.

    Example:
        >>> interval = share_interval([[16, 32], [17, 32], [15, 32], [18, 32]])
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.452, 0.579)
    """
    sums = _with_images(sums)
    if len(sums) < 2:
        return Number.unbounded(float(sums[0, 0] / sums[0, 1]) if len(sums) else None, len(sums))
    found = share_precision(sums)
    q = float(student.ppf((1 + level) / 2, found.blocks - 1))
    low, high = found.bound([-q, q])
    return Number(found.p, float(low), float(high), blocks=found.blocks)


def drawn_shares(sums: ArrayLike, repeats: int, generator: np.random.Generator) -> Array | None:
    """Draw shares from what `share_interval` says at every level: its bound at a random quantile of Student's t.

    Args:
        sums: (B, 2), as for `share_precision`.
        repeats: number of draws.
        generator: of the quantiles.

    Returns:
        (repeats,) in [0, 1]; None for fewer than two blocks with images.
    """
    if len(_with_images(sums)) < 2:
        return None
    found = share_precision(sums)
    return found.bound(generator.standard_t(found.blocks - 1, size=repeats))


def mean_interval(sums: ArrayLike, level: float = 0.95) -> Number:
    """Bound a mean `sum_b v_b / sum_b n_b` by its linearised scatter over blocks, with Student's t.

    Args:
        sums: (B, 2): of each block the sum of values `v_b`, and its images `n_b`; blocks without an image count not.
        level: coverage aimed at, in (0, 1).

    Returns:
        the mean with its interval; without bounds for fewer than two blocks with images.

    Example:
        >>> interval = mean_interval([[1.0, 1], [2.0, 1], [3.0, 1]])
        >>> round(interval.low, 2), round(interval.high, 2), interval.blocks
        (-0.48, 4.48, 3)
    """
    sums = _with_images(sums)
    blocks, n = len(sums), sums[:, 1].sum()
    mean = float(sums[:, 0].sum() / n) if blocks else None
    if mean is None or blocks < 2:
        return Number.unbounded(mean, blocks)
    error = np.sqrt(blocks / (blocks - 1) * np.square(sums[:, 0] - mean * sums[:, 1]).sum()) / n
    width = float(student.ppf((1 + level) / 2, blocks - 1)) * error
    return Number(mean, float(mean - width), float(mean + width), blocks=blocks)


def _with_images(sums: ArrayLike) -> Array:
    sums = np.asarray(sums, dtype=np.float64)
    if sums.ndim != 2 or sums.shape[1] != 2:
        raise ValueError(f"`sums` must have shape (B, 2), got {sums.shape}.")
    return sums[sums[:, 1] > 0]
