"""Differences between two arms of the same seeds: both under the same weights of blocks, so that what they share cancels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.stats import t as student

from selfdebias.metrics import fairness, quality
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.comparison import NO_MODES, NO_REFERENCE, OTHER_SEEDS, Sets, kept, paired_rows
from selfdebias.metrics.features import cosines
from selfdebias.metrics.intervals import BlockBootstrap, Draws, block_sums
from selfdebias.metrics.number import Number, all_missing, missing
from selfdebias.metrics.shares import Statistic, class_sums, mean_draws, resampled_shares
from selfdebias.metrics.spaces import OF_REFERENCE, in_space
from selfdebias.modes.placement import sides_of

Array = NDArray[np.float64]
Pair = tuple[ArmData, ArmData]
OF_TWINS = ("kept_cosine", "kept_share", "twin_cosine")


def difference(sides: Iterable[Draws], blocks: int, resampling: BlockBootstrap) -> Number:
    """Bound the first statistic minus the second by `value +- (|bias| + t_(B-1) sqrt(B / (B - 1)) sd)` of its resamples.

    The bias is not taken off, as for a single distance, but widens the interval: of two distances near 0 that move together either
    may be on either side of its target, and then the resamples lie on the wrong side of the value
    (experiments/results/paired_coverage.md).

    Args:
        sides: the statistic of one arm, and of the other, both computed under the same weights of blocks.
        blocks: B, that both were resampled by.
        resampling: repeats and level.

    Returns:
        the number with its interval, and with `p`: one minus the largest level at which that leaves out 0.

    Example:
        >>> draws = Draws(0.5, np.array([0.4, 0.6])), Draws(0.1, np.array([0.1, 0.1]))
        >>> number = difference(draws, blocks=3, resampling=BlockBootstrap())
        >>> round(number.low, 2), round(number.high, 2), round(number.more["p"], 3)
        (-0.13, 0.93, 0.082)
    """
    first, second = sides
    value, resampled = first.value - second.value, first.resampled - second.resampled
    if not np.isfinite(value):
        return missing("not both arms have an image that counts")
    resampled = resampled[np.isfinite(resampled)]
    if blocks < 2 or not len(resampled):
        return Number.unbounded(value, blocks)
    bias, error = abs(resampled.mean() - value), np.sqrt(blocks / (blocks - 1)) * resampled.std()
    width, beyond = bias + resampling.t(blocks) * error, max(abs(value) - bias, 0.0)
    p = 2 * student.sf(beyond / error, blocks - 1) if error else 1.0  # blocks that differ alike tell nothing of others
    return Number(value, float(value - width), float(value + width), blocks=blocks, more={"p": float(p)})


def pair_of(arm: ArmData, other: ArmData) -> Pair | Number:
    """Return the images of two arms row by row, in common blocks: an image depends on those of its batch in either arm.

    Images are paired by their seeds; where an arm has chosen among further seeds, by their places, so that batches are.

    Returns:
        both, without pairs of which one is flagged; or the null that says why they are no pairs.
    """
    if np.array_equal(np.sort(arm.seeds), np.sort(other.seeds)):
        rows, twins = paired_rows(arm.seeds, other.seeds)
    elif (places := _same_places(arm, other)) is not None:  # one of them has chosen among more seeds than the other has
        rows, twins = places
    else:
        return missing(OTHER_SEEDS)
    shown = ~(arm.blanked[rows] | other.blanked[twins])
    if not shown.any():
        return missing("each image or its twin is blanked")
    first, second = arm.rows(rows[shown]), other.rows(twins[shown])
    blocks = joined_blocks(first.blocks, second.blocks)
    return replace(first, blocks=blocks), replace(second, blocks=blocks)


def _same_places(arm: ArmData, other: ArmData) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Return the rows of equal image ids of equal runs, if both arms have these alone, and some have the same seed."""
    one, two = (np.lexsort((it.ids, it.runs)) for it in (arm, other))
    if len(one) != len(two) or any(
        not np.array_equal(getattr(arm, name)[one], getattr(other, name)[two]) for name in ("ids", "runs")
    ):
        return None
    return (one, two) if (arm.seeds[one] == other.seeds[two]).any() else None


def joined_blocks(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the finest blocks, (N,), that no block of either arm crosses.

    Example:
        >>> joined_blocks(np.array([0, 0, 1, 1, 2]), np.array([5, 6, 6, 7, 8])).tolist()
        [0, 0, 0, 0, 1]
    """
    (one, left), (other, right) = (np.unique(blocks, return_inverse=True) for blocks in (first, second))
    size = len(one) + len(other)
    links = coo_matrix((np.ones(len(left)), (left, len(one) + right)), shape=(size, size))
    return connected_components(links, directed=False)[1][left].astype(np.int64)


def differences(
    sets: Sets, other: ArmData, attributes: Sequence[str], modes: Mapping[str, Any] | None
) -> dict[str, Any] | Number:
    """Measure how much an arm's numbers differ from those of another arm of the same seeds.

    Args:
        sets: the arm, vanilla and the reference, flagged images among them.
        other: what is subtracted.
        attributes: judged attributes, or intersections.
        modes: as for `summarise`; None where no modes are known.

    Returns:
        the arm's number minus the other's, under the name that it has in an arm: of each attribute, of `shares`, of the modes or
        `axes`; `kept_cosine` and what else is measured against the paired vanilla samples, which have a cosine of 1 with
        themselves; the metrics against the reference that have an interval, also by the features of `quality`. Or one null with
        the reason.
    """
    pair = pair_of(sets.arm, other)
    if isinstance(pair, Number):
        return pair
    found: dict[str, Any] = {name: _of_attribute(pair, name, sets.resampling) for name in attributes}
    found["shares"] = {name: _of_classes(pair, name, sets.resampling) for name in attributes}
    found |= _of_modes(pair, modes, sets.resampling) | _of_twins(pair, sets)
    found |= _of_quality(pair, sets, [metric.key for metric in quality.METRICS])
    found["quality"] = {name: _in_space(pair, sets, name) for name in pair[0].spaces}
    return found


def shares_apart(
    sums: Sequence[Array], metrics: Mapping[str, Statistic], resampling: BlockBootstrap
) -> dict[str, Number]:
    """Bound differences of statistics of class shares.

    Args:
        sums: two times (B, C) counts (or sums of probabilities) of the same blocks.
        metrics: by name, shares (..., C) to values (...,).
        resampling: repeats, seed and level.
    """
    blocks = len(sums[0])
    if any(it.sum() <= 0 for it in sums):
        return all_missing(metrics, "no image is there to be counted", n=0)
    shares = [fairness.shares(it.sum(0)) for it in sums]
    drawn = [resampled_shares(it, resampling, stream) for stream, it in enumerate(sums)]
    return {
        name: difference((Draws(float(of(f)), of(r)) for f, r in zip(shares, drawn, strict=True)), blocks, resampling)
        for name, of in metrics.items()
    }


def _of_attribute(pair: Pair, attribute: str, resampling: BlockBootstrap) -> dict[str, Number]:
    soft = [block_sums(arm.probabilities[attribute], arm.blocks) for arm in pair]
    hard = {key: fairness.metric_function(key) for key in fairness.METRICS if key != "fd_soft"}
    found = shares_apart(soft, {"fd_soft": fairness.fd_hard}, resampling)
    return found | shares_apart([class_sums(arm, attribute) for arm in pair], hard, resampling)


def _of_classes(pair: Pair, attribute: str, resampling: BlockBootstrap) -> dict[str, Number]:
    names = pair[0].classes[attribute]
    return shares_apart([class_sums(arm, attribute) for arm in pair], _each(names), resampling)


def _each(names: Sequence[str]) -> dict[str, Statistic]:
    """The share of each class."""
    return {name: lambda f, c=c: f[..., c] for c, name in enumerate(names)}  # type: ignore[misc]


def _of_modes(pair: Pair, modes: Mapping[str, Any] | None, resampling: BlockBootstrap) -> dict[str, Any]:
    if not modes:
        return all_missing(("mode_fd", "mode_kl"), NO_MODES)
    target, blocks = tuple(modes["target"]), pair[0].blocks

    def apart(
        one: Sequence[NDArray[np.int64]], wanted: tuple[float, ...], names: Mapping[str, str]
    ) -> dict[str, Number]:
        sums = [block_sums(np.eye(len(wanted))[places], blocks) for places in one]
        used = {key: name for key, name in names.items() if key != "kl_target" or 0 not in wanted}
        return shares_apart(
            sums, {name: fairness.metric_function(key, wanted) for key, name in used.items()}, resampling
        )

    if "axes" not in modes:
        return apart([arm.modes for arm in pair], target, {"fd_hard": "mode_fd", "kl_target": "mode_kl"})
    sides, names = [sides_of(arm.modes, len(target) // 2) for arm in pair], {"fd_hard": "fd", "kl_target": "kl"}
    axes = [apart([it[:, a] for it in sides], target[2 * a : 2 * a + 2], names) for a in range(len(target) // 2)]
    return {"axes": axes}


def _of_twins(pair: Pair, sets: Sets) -> dict[str, Number]:
    """What is kept of the vanilla images that both arms were drawn beside."""
    vanilla = sets.vanilla
    if vanilla is None or not np.isin(pair[0].seeds, vanilla.seeds[~vanilla.blanked]).all():
        return all_missing(
            OF_TWINS, OTHER_SEEDS if vanilla is not None else f"there is no {sets.compared.baseline} arm"
        )
    if not np.array_equal(pair[0].seeds, pair[1].seeds):  # paired by their places: one arm chose its seeds
        return all_missing(OF_TWINS, OTHER_SEEDS)
    twins = vanilla.rows(paired_rows(pair[0].seeds, vanilla.seeds)[1])
    every, blocks = np.ones(len(twins), dtype=bool), pair[0].blocks
    cosine = [cosines(arm.e, twins.e) for arm in pair]
    same = [kept(arm.modes, twins.modes) for arm in pair]
    measured: dict[str, list[tuple[Array, NDArray[np.bool_]]]] = {
        "kept_cosine": list(zip(cosine, same, strict=True)),
        "kept_share": [(rows.astype(np.float64), every) for rows in same],
        "twin_cosine": [(values, every) for values in cosine],
    }
    found = {} if sets.n_modes else all_missing(OF_TWINS[:2], NO_MODES)
    for name, sides in measured.items():
        if name not in found:
            draws = (mean_draws(values, rows, blocks, sets.resampling) for values, rows in sides)
            found[name] = difference(draws, len(np.unique(blocks)), sets.resampling)
    return found


def _of_quality(pair: Pair, sets: Sets, keys: Sequence[str]) -> dict[str, Number]:
    """The metrics against the reference; of whom there is no difference of two, none."""
    found, reference = {}, sets.reference
    for metric in [it for it in quality.METRICS if it.draws and it.key in keys]:
        if reference is None or metric.draws is None:
            found[metric.key] = missing(NO_REFERENCE)
            continue
        try:
            draws = [metric.draws(arm, reference, sets.suite, sets.resampling) for arm in pair]
        except ValueError as error:
            found[metric.key] = missing(str(error))
        else:
            found[metric.key] = difference(draws, len(np.unique(pair[0].blocks)), sets.resampling)
    return found


def _in_space(pair: Pair, sets: Sets, name: str) -> dict[str, Number]:
    try:
        these = in_space(replace(sets, arm=pair[0], vanilla=pair[1]), name)
    except ValueError as error:
        return all_missing(OF_REFERENCE[:2], str(error))
    assert these.vanilla is not None
    return _of_quality((these.arm, these.vanilla), these, OF_REFERENCE)
