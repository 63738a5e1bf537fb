"""Class shares of an arm, and what is computed from them: value, interval over blocks, number of images, fair sampler's floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics import fairness
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.intervals import ROUNDING, BlockBootstrap, Draws, block_sums, mean_interval, share_interval
from selfdebias.metrics.number import Number, missing
from selfdebias.modes.placement import sides_of

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]


def attribute_metrics(arm: ArmData, attribute: str, resampling: BlockBootstrap) -> dict[str, Number]:
    """Measure the metrics of `fairness.METRICS` of one attribute against uniform.

    `fd_soft` is over all images, the others over the classified ones; each entry states its own `n`, and an `at_floor` that is
    null for a signed gap, which is no distance, and where there is no interval.
    """
    soft = block_sums(arm.probabilities[attribute], arm.blocks)
    hard = class_sums(arm, attribute)
    return {key: _against(soft if key == "fd_soft" else hard, key, resampling) for key in fairness.METRICS}


def attribute_shares(arm: ArmData, attribute: str, resampling: BlockBootstrap) -> dict[str, Number]:
    """Return the share of each class among the classified images, by class name, absent classes kept."""
    sums = class_sums(arm, attribute)
    return _shares(sums, arm.classes[attribute], resampling)


def mode_metrics_of(arm: ArmData, target: Sequence[float], resampling: BlockBootstrap) -> dict[str, Any]:
    """Measure `mode_fd` and `mode_kl` against the target of the modes, and `mode_shares` by mode."""
    sums = block_sums(np.eye(len(target))[arm.modes], arm.blocks)
    return {
        "mode_fd": _against(sums, "fd_hard", resampling, tuple(target)),
        "mode_kl": _against(sums, "kl_target", resampling, tuple(target)),
        "mode_shares": _shares(sums, [str(mode) for mode in range(len(target))], resampling),
    }


def axis_metrics_of(arm: ArmData, target: Sequence[float], resampling: BlockBootstrap) -> dict[str, Any]:
    """Measure each axis by itself, where `arm.modes` are cells; `target` has the shares of the sides of one after the other.

    Returns:
        ``axes``, with ``fd``, ``kl`` and the ``share`` of side 1 of each; ``mode_shares`` by side, side s of axis a being 2 a + s.
    """
    sides = sides_of(arm.modes, len(target) // 2)
    entries: list[dict[str, Number]] = []
    shares: dict[str, Number] = {}
    for a in range(sides.shape[1]):
        sums, wanted = block_sums(np.eye(2)[sides[:, a]], arm.blocks), tuple(target[2 * a : 2 * a + 2])
        own = _shares(sums, [str(2 * a), str(2 * a + 1)], resampling)
        shares |= own
        fd, kl = (_against(sums, key, resampling, wanted) for key in ("fd_hard", "kl_target"))
        entries.append({"fd": fd, "kl": kl, "share": own[str(2 * a + 1)]})
    return {"axes": entries, "mode_shares": shares}


def by_run(arm: ArmData, attribute: str) -> dict[str, list[float | None]]:
    """State `fd_hard` and the first class's share of each pooled run on its own, in the order of the runs.

    Runs differ by their noise alone, as batches of one run do; so intervals rest on batches, and this shows the runs.
    """
    f = fairness.shares(class_sums(replace(arm, blocks=arm.runs), attribute))
    values = {"fd_hard": fairness.fd_hard(f), "share": f[:, 0]}
    return {name: [float(v) if np.isfinite(v) else None for v in column] for name, column in values.items()}


def mean_of(
    values: ArrayLike,
    rows: NDArray[np.bool_],
    blocks: ArrayLike,
    level: float,
    reason: str,
    least: float = -np.inf,
    most: float = np.inf,
) -> Number:
    """Return the mean of `values`, (N,), over the chosen rows, with its interval over blocks.

    Args:
        values: what is outside the rows may be of any value.
        rows: (N,) bool.
        blocks: (N,) integers.
        level: of the interval, in (0, 1).
        reason: said where no row is chosen.
        least: smallest value that there can be, for the interval.
        most: largest.

    Example:
        >>> number = mean_of([1.0, 3.0, np.nan], np.array([True, True, False]), [0, 0, 1], 0.95, "none")
        >>> number.value, number.n, number.blocks
        (2.0, 2, 1)
    """
    if not rows.any():
        return missing(reason, n=0)
    chosen = np.where(rows, np.asarray(values, dtype=np.float64), 0.0)
    sums = block_sums(np.stack([chosen, rows], 1), blocks)
    bounded = mean_interval(sums, level).within(least, most)
    return replace(bounded, value=float(chosen[rows].mean()), n=int(rows.sum()))


def mean_draws(values: ArrayLike, rows: NDArray[np.bool_], blocks: ArrayLike, resampling: BlockBootstrap) -> Draws:
    """Resample the mean of `values`, (N,), over the chosen rows, (N,) bool; NaN where none is chosen."""
    chosen = np.where(rows, np.asarray(values, dtype=np.float64), 0.0)
    sums = block_sums(np.stack([chosen, rows], 1), blocks)
    every = np.concatenate([np.ones((1, len(sums))), resampling.weights(len(sums))]) @ sums
    means = np.divide(every[:, 0], every[:, 1], out=np.full(len(every), np.nan), where=every[:, 1] > 0)
    return Draws(float(means[0]), means[1:])


def rate(flags: NDArray[np.bool_], blocks: NDArray[np.int64], level: float) -> Number:
    """Return the share of images with a flag."""
    if not len(flags):
        return missing("there is no image", n=0)
    sums = block_sums(np.stack([flags, np.ones_like(flags)], 1), blocks)
    return replace(share_interval(sums, level), n=len(flags))


def class_sums(arm: ArmData, attribute: str) -> Array:
    """Count the classified images of each class in each block, (B, C)."""
    labels, sure = arm.labels(attribute)
    return block_sums(np.eye(len(arm.classes[attribute]))[labels] * sure[:, None], arm.blocks)


def _against(sums: Array, key: str, resampling: BlockBootstrap, target: tuple[float, ...] | None = None) -> Number:
    """Apply a metric to sums by block, (B, C)."""
    n, n_classes = round(sums.sum()), sums.shape[1]
    if n == 0:
        return missing("no image is there to be counted", n=0)
    if key == "kl_target" and 0 in (target or ()):
        return missing("the target is 0 for a mode", n=n)
    metric = fairness.metric_function(key, target)
    best = fairness.best_shares(key, n_classes, target)
    number = class_interval(sums, metric, best, resampling, *fairness.range_of(key, n_classes, target))
    return number.stating(n=n, floor=fairness.expected_floor(key, n_classes, n, target), at_floor=number.at_floor)


def _shares(sums: Array, names: Sequence[str], resampling: BlockBootstrap) -> dict[str, Number]:
    n = round(sums.sum())
    if n == 0:
        return {name: missing("no image is there to be counted", n=0) for name in names}
    pairs = (np.stack([sums[:, c], sums.sum(1)], 1) for c in range(len(names)))
    return {name: replace(share_interval(it, resampling.level), n=n) for name, it in zip(names, pairs, strict=True)}


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
    value = float(statistic(fairness.shares(sums.sum(0))))
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
    blocks, f = len(sums), fairness.shares(sums.sum(0))
    resampled = resampled_shares(sums, resampling)
    interval = resampling.around(value, statistic(resampled), blocks)
    if target is None or interval.low is None or interval.high is None:
        return interval
    best = float(statistic(target[None])[0])
    at_target = statistic(fairness.shares((target + _expansion(blocks, resampling) * (resampled - f)).clip(0)))
    reach = float(np.quantile(np.abs(at_target - best), resampling.level))
    if abs(value - best) > reach:
        return replace(interval, at_floor=False)
    return replace(interval, low=min(interval.low, best), high=max(interval.high, best), at_floor=True)


def resampled_shares(sums: Array, resampling: BlockBootstrap, stream: int = 0) -> Array:
    """Resample blocks; counts scatter at least as much as whole numbers do (see `share_precision`).

    Args:
        sums: (B, C) counts of each block, B >= 2.
        resampling: repeats and seed.
        stream: another number for another arm whose blocks are weighted alike: what whole numbers leave open is its own.

    Returns:
        (repeats, C) shares.
    """
    blocks, total = len(sums), sums.sum(0)
    f, n = fairness.shares(total), sums.sum(1, keepdims=True)
    scatter = np.square(sums - f * n).sum(0)  # variance of a resample's totals
    lacking = np.sqrt((np.minimum(ROUNDING, n * f * (1 - f)).sum(0) - scatter).clip(0))
    noise = np.random.default_rng([resampling.seed, blocks, stream]).standard_normal((resampling.repeats, len(total)))
    return fairness.shares((resampling.weights(blocks) @ sums + lacking * noise).clip(0))


def expanded_shares(sums: Array, resampling: BlockBootstrap) -> Array:
    """Resample blocks, and move the resamples away from the shares by as much as few blocks ask; (repeats, C)."""
    f = fairness.shares(sums.sum(0))
    moved = f + _expansion(len(sums), resampling) * (resampled_shares(sums, resampling) - f)
    return fairness.shares(moved.clip(0))


def _expansion(blocks: int, resampling: BlockBootstrap) -> float:
    """Factor that makes deviations of resamples as wide as Student's t asks, for quantiles of them."""
    return float(np.sqrt(blocks / (blocks - 1)) * resampling.t(blocks) / resampling.t(10**9))
