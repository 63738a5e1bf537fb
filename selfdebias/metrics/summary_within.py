"""Entries of quality inside modes: a fair arm has another mix of modes than the reference, and is not punished for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.entries import NO_INTERVAL, Entry, measured, missing
from selfdebias.metrics.mmd import mmd
from selfdebias.metrics.modes import Placed
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary_fairness import rate
from selfdebias.metrics.summary_quality import floor_pair
from selfdebias.metrics.turned import covered_in_mode
from selfdebias.metrics.twins import VANILLA
from selfdebias.metrics.within_modes import weighted, within_modes

KEYS = ("kid", "cmmd", "precision")
Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]


def distances_within_modes(
    arm: ArmData,
    vanilla: ArmData | None,
    reference: ArmData,
    n_modes: int,
    suite: MetricSuite,
    resampling: BlockBootstrap,
    baseline: str = VANILLA,
) -> dict[str, Entry]:
    """Measure `KEYS` of an arm's images against the reference images of their own mode.

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
    return {key: entry | sizes | {"features": dims[key]} for key, entry in entries.items()}


def _mean_distance(sets: list[Placed], metric: Metric, n_modes: int) -> Entry:
    """Average a metric of (real, fake) over modes; `sets` are arm, reference, and the two sides of the floor."""
    arm, reference, left, right = sets
    values = within_modes(metric, *reference, *arm, n_modes)
    floors = within_modes(metric, *right, *left, n_modes)
    mean = weighted(values, floors, np.bincount(arm.modes, minlength=n_modes))
    if mean is None:
        return missing("no mode has at least 2 images of the arm, of the reference and of the floor", n=0)
    return measured(mean.value, n=mean.n, floor=mean.floor, reason=NO_INTERVAL)


def _mean_precision(
    sets: list[Placed], blocks: NDArray[np.int64], n_modes: int, k: int, resampling: BlockBootstrap
) -> Entry:
    arm, reference, left, right = sets
    covered, own = covered_in_mode(reference, arm, n_modes, k), covered_in_mode(right, left, n_modes, k)
    floors = [_mean(own[left.modes == mode]) for mode in range(n_modes)]
    values = [_mean(covered[arm.modes == mode]) for mode in range(n_modes)]
    mean = weighted(values, floors, np.bincount(arm.modes, minlength=n_modes))
    if mean is None:
        return missing(f"no mode has images of the arm and the floor and more than {k} of the reference", n=0)
    rows = (np.isfinite(values) & np.isfinite(floors))[arm.modes]
    return rate(covered[rows] > 0, blocks[rows], resampling.level) | {"floor": mean.floor}


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
