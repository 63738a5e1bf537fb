"""Intervals of what is computed from the shares of classes: distances from a target, entropies, gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from selfdebias.metrics.bootstrap import BlockBootstrap, Interval
from selfdebias.metrics.fairness import shares
from selfdebias.metrics.share_interval import ROUNDING, share_interval

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]


def class_interval(
    sums: Array, statistic: Statistic, target: Array | None, resampling: BlockBootstrap, least: float, most: float
) -> Interval:
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
        the interval; without bounds for fewer than two blocks.
    """
    if len(sums) < 2 or sums.sum() <= 0:
        return Interval(None, None, len(sums))
    if sums.shape[1] == 2:
        interval = _of_two(sums, statistic, target, resampling.level)
    else:
        interval = _of_many(sums, statistic, target, resampling)
    return interval.within(least, most)


def _of_two(sums: Array, statistic: Statistic, target: Array | None, level: float) -> Interval:
    first = share_interval(np.stack([sums[:, 0], sums.sum(1)], 1), level)
    assert first.low is not None and first.high is not None
    points = [first.low, first.high]
    at_floor = None if target is None else bool(first.low <= target[0] <= first.high)
    if at_floor and target is not None:
        points.append(float(target[0]))
    values = statistic(np.stack([points, 1 - np.array(points)], 1))
    return Interval(float(values.min()), float(values.max()), first.blocks, at_floor)


def _of_many(sums: Array, statistic: Statistic, target: Array | None, resampling: BlockBootstrap) -> Interval:
    blocks, f = len(sums), shares(sums.sum(0))
    value, resampled = float(statistic(f[None])[0]), resampled_shares(sums, resampling)
    interval = resampling.around(value, statistic(resampled), blocks)
    if target is None or interval.low is None or interval.high is None:
        return interval
    best = float(statistic(target[None])[0])
    at_target = statistic(_distribution(target + _expansion(blocks, resampling) * (resampled - f)))
    reach = float(np.quantile(np.abs(at_target - best), resampling.level))
    if abs(value - best) > reach:
        return replace(interval, at_floor=False)
    return Interval(min(interval.low, best), max(interval.high, best), blocks, True)


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
