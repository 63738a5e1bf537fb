"""Closed-form intervals of shares and of means over images that come in blocks, and of what is computed from shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.fairness import shares
from selfdebias.metrics.number import Number

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
ROUNDING = 0.25  # least variance of a block's count: it is a whole number, so its mean is not known better than that


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


def class_interval(
    sums: Array, statistic: Statistic, target: Array | None, resampling: BlockBootstrap, least: float, most: float
) -> Number:
    """Bound a statistic of class shares.

    Two classes: the statistic over the interval of the first share, so all of them say the same. More: `BlockBootstrap`.
    A *distance* has a `target`, where it is best (0, or 1 for a normalised entropy). Where the data do not tell the
    shares from the target, `at_floor` is set, and the interval reaches to the best value.

    Args:
        sums: (B, C) counts (or sums of probabilities) of each block.
        statistic: maps shares (R, C) to values (R,), monotonic on both sides of the target.
        target: (C,) shares at which the statistic is best; None for one that is no distance.
        resampling: repeats, seed and level.
        least: smallest value that the statistic can take.
        most: largest.

    Returns:
        its value and interval; without bounds for fewer than two blocks.
    """
    if sums.sum() <= 0:
        return Number.unbounded(None, 0)
    value = float(statistic(shares(sums.sum(0))))
    if len(sums) < 2:
        return Number.unbounded(value, len(sums))
    if sums.shape[1] == 2:
        return _of_two(value, sums, statistic, target, resampling.level).within(least, most)
    return _of_many(value, sums, statistic, target, resampling).within(least, most)


def _of_two(value: float, sums: Array, statistic: Statistic, target: Array | None, level: float) -> Number:
    first = share_interval(np.stack([sums[:, 0], sums.sum(1)], 1), level)
    if first.low is None or first.high is None:
        return Number.unbounded(value, len(sums[sums.sum(1) > 0]))
    points = [first.low, first.high]
    at_floor = None if target is None else bool(first.low <= target[0] <= first.high)
    if at_floor and target is not None:
        points.append(float(target[0]))
    values = statistic(np.stack([points, 1 - np.array(points)], 1))
    return Number(value, float(values.min()), float(values.max()), blocks=first.blocks, at_floor=at_floor)


def _of_many(
    value: float, sums: Array, statistic: Statistic, target: Array | None, resampling: BlockBootstrap
) -> Number:
    blocks, f = len(sums), shares(sums.sum(0))
    resampled = resampled_shares(sums, resampling)
    interval = resampling.around(value, statistic(resampled), blocks)
    if target is None or interval.low is None or interval.high is None:
        return interval
    best = float(statistic(target[None])[0])
    at_target = statistic(_distribution(target + _expansion(blocks, resampling) * (resampled - f)))
    reach = float(np.quantile(np.abs(at_target - best), resampling.level))
    if abs(value - best) > reach:
        return replace(interval, at_floor=False)
    return replace(interval, low=min(interval.low, best), high=max(interval.high, best), at_floor=True)


def resampled_shares(sums: Array, resampling: BlockBootstrap) -> Array:
    """Resample blocks; counts scatter at least as much as whole numbers do (see `share_precision`).

    Args:
        sums: (B, C) counts of each block, B >= 2.
        resampling: repeats and seed.

    Returns:
        (repeats, C) shares.
    """
    blocks, total = len(sums), sums.sum(0)
    f, n = shares(total), sums.sum(1, keepdims=True)
    scatter = np.square(sums - f * n).sum(0)  # variance of a resample's totals
    missing = np.sqrt((np.minimum(ROUNDING, n * f * (1 - f)).sum(0) - scatter).clip(0))
    noise = np.random.default_rng([resampling.seed, blocks]).standard_normal((resampling.repeats, len(total)))
    return _distribution(resampling.weights(blocks) @ sums + missing * noise)


def expanded_shares(sums: Array, resampling: BlockBootstrap) -> Array:
    """Resample blocks, and move the resamples away from the shares by as much as few blocks ask; (repeats, C)."""
    f = shares(sums.sum(0))
    return _distribution(f + _expansion(len(sums), resampling) * (resampled_shares(sums, resampling) - f))


def _expansion(blocks: int, resampling: BlockBootstrap) -> float:
    """Factor that makes deviations of resamples as wide as Student's t asks, for quantiles of them."""
    return float(np.sqrt(blocks / (blocks - 1)) * resampling.t(blocks) / resampling.t(10**9))


def _distribution(values: Array) -> Array:
    return shares(values.clip(0))
