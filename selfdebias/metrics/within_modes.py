"""Quality inside each mode, so that a new mix of modes, which is what guidance is for, is not held against an arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.arms import ArmData, Placed
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.features import features
from selfdebias.metrics.mmd import mmd
from selfdebias.metrics.neighbours import knn_covered
from selfdebias.metrics.number import NO_INTERVAL, Number, missing
from selfdebias.metrics.quality import floor_pair
from selfdebias.metrics.shares import rate
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.twins import VANILLA

Array = NDArray[np.float64]
Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]


class Weighted(NamedTuple):
    """A metric's mean over modes, for the images and for those that it is held against, and the `n` images behind it."""

    value: float
    floor: float
    n: int


def within_modes(
    metric: Callable[[Array, Array], float],
    real: ArrayLike,
    real_modes: ArrayLike,
    fake: ArrayLike,
    fake_modes: ArrayLike,
    n_modes: int,
) -> list[float | str]:
    """Apply a metric of (real, fake) features inside each mode.

    Returns:
        one value a mode, or the metric's own sentence why that mode is too small for it.

    Example:
        >>> real, modes = np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 1])
        >>> within_modes(lambda a, b: float(a.mean() - b.mean()), real, modes, [[0.5], [4.0]], np.array([0, 1]), 3)
        [0.0, 1.0, '`real` must have at least 1 rows, got 0.']
    """
    real, fake = features(real, "real", least=0), features(fake, "fake", least=0)
    real_modes, fake_modes = np.asarray(real_modes), np.asarray(fake_modes)

    def inside(mode: int) -> float | str:
        one, other = real[real_modes == mode], fake[fake_modes == mode]
        try:
            return metric(features(one, "real"), features(other, "fake"))
        except ValueError as error:
            return str(error)

    return [inside(mode) for mode in range(n_modes)]


def weighted(values: Sequence[float | str], floors: Sequence[float | str], counts: ArrayLike) -> Weighted | None:
    """Average values by mode and their floors, weighted by an arm's images of each mode.

    Args:
        values: K values, or sentences why there is none.
        floors: the same for the images that the arm is held against.
        counts: (K,) the arm's images of each mode.

    Returns:
        means over the modes that have both a value and a floor; None where no image of the arm is in one.

    Example:
        >>> weighted([1.0, 4.0, "too small"], [0.0, 1.0, 2.0], [1, 3, 9])
        Weighted(value=3.25, floor=0.75, n=4)
    """
    both = np.array([[np.nan if isinstance(v, str) else v for v in side] for side in (values, floors)])
    weights = np.asarray(counts) * np.isfinite(both).all(0)
    n = int(weights.sum())
    if n == 0:
        return None
    value, floor = np.nan_to_num(both) @ weights / n
    return Weighted(float(value), float(floor), n)


def covered_in_mode(reference: Placed, placed: Placed, n_modes: int, k: int) -> Array:
    """Tell which embeddings the reference images *of their own mode* cover.

    Returns:
        (N,) float64, 1 or 0, and NaN where the reference has no more than k images of that mode.
    """
    covered = np.full(len(placed.modes), np.nan)
    for mode in range(n_modes):
        real, rows = reference.inside(mode), placed.modes == mode
        if len(real) > k:
            covered[rows] = knn_covered(real, placed.e[rows], k)
    return covered


def distances_within_modes(
    arm: ArmData,
    vanilla: ArmData | None,
    reference: ArmData,
    n_modes: int,
    suite: MetricSuite,
    resampling: BlockBootstrap,
    baseline: str = VANILLA,
) -> dict[str, Number]:
    """Measure KID, CMMD and precision of an arm's images against the reference images of their own mode.

    Each is the mean over modes, weighted by the arm's own images of each, and so is its floor, which is measured on the
    images that `distances` takes too. A mode too small on any side is left out of both; `n` counts the arm's images in
    the others. Precision alone has an interval; the `reason` of the others says why.
    """
    floor_of, left, right = floor_pair(vanilla, reference, baseline)
    sets = (arm, reference, left, right)
    compared = [Placed(data.compared, data.modes) for data in sets]
    embedded = [data.placed for data in sets]
    entries = {
        "kid": _mean_distance(compared, lambda x, y: mmd(y, x, suite.kid_kernel), n_modes),
        "cmmd": _mean_distance(embedded, lambda x, y: mmd(y, x, suite.cmmd_kernel), n_modes),
        "precision": _mean_precision(compared, arm.blocks, n_modes, suite.nearest, resampling),
    }
    sizes = {"reference_n": len(reference), "floor_of": floor_of}
    dims = {"kid": compared[0].e.shape[1], "cmmd": arm.e.shape[1], "precision": compared[0].e.shape[1]}
    return {key: number.stating(**sizes, features=dims[key]) for key, number in entries.items()}


def _mean_distance(sets: list[Placed], metric: Metric, n_modes: int) -> Number:
    """Average a metric of (real, fake) over modes; `sets` are arm, reference, and the two sides of the floor."""
    arm, reference, left, right = sets
    values = within_modes(metric, *reference, *arm, n_modes)
    floors = within_modes(metric, *right, *left, n_modes)
    mean = weighted(values, floors, np.bincount(arm.modes, minlength=n_modes))
    if mean is None:
        return missing("no mode has at least 2 images of the arm, of the reference and of the floor", n=0)
    return Number(mean.value, n=mean.n, floor=mean.floor, reason=NO_INTERVAL)


def _mean_precision(
    sets: list[Placed], blocks: NDArray[np.int64], n_modes: int, k: int, resampling: BlockBootstrap
) -> Number:
    arm, reference, left, right = sets
    covered, own = covered_in_mode(reference, arm, n_modes, k), covered_in_mode(right, left, n_modes, k)
    floors = [_mean(own[left.modes == mode]) for mode in range(n_modes)]
    values = [_mean(covered[arm.modes == mode]) for mode in range(n_modes)]
    mean = weighted(values, floors, np.bincount(arm.modes, minlength=n_modes))
    if mean is None:
        return missing(f"no mode has images of the arm and the floor and more than {k} of the reference", n=0)
    rows = (np.isfinite(values) & np.isfinite(floors))[arm.modes]
    return rate(covered[rows] > 0, blocks[rows], resampling.level).stating(floor=mean.floor)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
