"""Quality inside each mode, so that a new mix of modes, which is what guidance is for, is not held against an arm.

Of all images of an arm, and of those that switched to another mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.arms import ArmData, Placed
from selfdebias.metrics.comparison import Sets, kept
from selfdebias.metrics.distances import mmd
from selfdebias.metrics.features import features
from selfdebias.metrics.intervals import BlockBootstrap, block_sums, drawn_shares, share_interval
from selfdebias.metrics.metric import Kernel
from selfdebias.metrics.number import NO_INTERVAL, Number, all_missing, missing
from selfdebias.metrics.quality import knn_covered
from selfdebias.metrics.shares import rate

Array = NDArray[np.float64]
Distance = Callable[[Array, Array], float]  # of (real, fake) features
PRECISIONS = ("precision", "vanilla_precision", "precision_ratio")
FEWEST = 5  # switched images of which a ratio is stated


class Weighted(NamedTuple):
    """A metric's mean over modes, for the images and for those that it is held against, and the `n` images behind it."""

    value: float
    floor: float
    n: int


def within_modes(distance: Distance, real: Placed, fake: Placed, n_modes: int) -> list[float | str]:
    """Apply a metric of (real, fake) features inside each mode.

    Returns:
        one value a mode, or the metric's own sentence why that mode is too small for it.

    Example:
        >>> real, fake = (Placed(np.array(e), np.array(modes)) for e, modes in (
        ...     ([[0.0], [1.0], [5.0]], [0, 0, 1]), ([[0.5], [4.0]], [0, 1])
        ... ))
        >>> within_modes(lambda a, b: float(a.mean() - b.mean()), real, fake, 3)
        [0.0, 1.0, '`real` must have at least 1 rows, got 0.']
    """

    def inside(mode: int) -> float | str:
        try:
            return distance(features(real.inside(mode), "real"), features(fake.inside(mode), "fake"))
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


def mean_distance(sets: Sequence[Placed], kernel: Kernel, n_modes: int) -> Weighted | None:
    """Average a kernel distance over modes; `sets` are the arm, its reference, and the two sides of the floor."""
    arm, reference, left, right = sets
    values, floors = (
        within_modes(lambda real, fake: mmd(fake, real, kernel), real, fake, n_modes)
        for real, fake in ((reference, arm), (right, left))
    )
    return weighted(values, floors, np.bincount(arm.modes, minlength=n_modes))


def distances_within_modes(sets: Sets, reference: ArmData) -> dict[str, Number]:
    """Measure KID, CMMD and precision of an arm's images against the reference images of their own mode.

    Each is the mean over modes, weighted by the arm's own images of each, and so is its floor, which is measured on the
    images that `against_reference` takes too. A mode too small on any side is left out of both; `n` counts the arm's
    images in the others. Precision alone has an interval; the `reason` of the others says why.
    """
    floor_of, left, right = sets.floor_pair(reference)
    every, suite, n_modes = (sets.arm, reference, left, right), sets.suite, sets.n_modes
    compared, embedded = [Placed(data.compared, data.modes) for data in every], [data.placed for data in every]

    def entry(mean: Weighted | None) -> Number:
        if mean is None:
            return missing("no mode has at least 2 images of the arm, of the reference and of the floor", n=0)
        return Number(mean.value, n=mean.n, floor=mean.floor, reason=NO_INTERVAL)

    entries = {
        "kid": entry(mean_distance(compared, suite.kid_kernel, n_modes)),
        "cmmd": entry(mean_distance(embedded, suite.cmmd_kernel, n_modes)),
        "precision": _mean_precision(compared, sets.arm.blocks, n_modes, suite.nearest, sets.resampling.level),
    }
    sizes = {"reference_n": len(reference), "floor_of": floor_of}
    dims = {"kid": compared[0].e.shape[1], "cmmd": embedded[0].e.shape[1], "precision": compared[0].e.shape[1]}
    return {key: number.stating(**sizes, features=dims[key]) for key, number in entries.items()}


def _mean_precision(sets: list[Placed], blocks: NDArray[np.int64], n_modes: int, k: int, level: float) -> Number:
    arm, reference, left, right = sets
    covered, own = covered_in_mode(reference, arm, n_modes, k), covered_in_mode(right, left, n_modes, k)
    values, floors = (
        [float(flags[modes == mode].mean()) if mode in modes else float("nan") for mode in range(n_modes)]
        for flags, modes in ((covered, arm.modes), (own, left.modes))
    )
    mean = weighted(values, floors, np.bincount(arm.modes, minlength=n_modes))
    if mean is None:
        return missing(f"no mode has images of the arm and the floor and more than {k} of the reference", n=0)
    rows = (np.isfinite(values) & np.isfinite(floors))[arm.modes]
    return rate(covered[rows] > 0, blocks[rows], level).stating(floor=mean.floor)


def switched_precisions(
    reference: Placed, vanilla: Placed, arm: Placed, n_modes: int, blocks: ArrayLike, bootstrap: BlockBootstrap, k: int
) -> dict[str, Number]:
    """Measure `precision`, `vanilla_precision` and `precision_ratio` of the images that switched their mode.

    Args:
        reference: vanilla images of other seeds, with their modes.
        vanilla: the arm's paired samples, same order.
        arm: the arm's images.
        n_modes: K.
        blocks: (N,) block of each image of the arm and of its paired sample; intervals hold the reference fixed.
        bootstrap: repeats, seed and level.
        k: neighbours.

    Returns:
        by measure, the number of `preservation.switched_quality`, whose `n` says how many switched images stand behind it.
    """
    switched = ~kept(arm.modes, vanilla.modes)
    if not switched.any():
        return all_missing(PRECISIONS, "no image switched", n=0)

    def counts(placed: Placed, rows: NDArray[np.bool_]) -> Array:
        """Hits and images of each block by mode, (B, 2, K)."""
        covered = covered_in_mode(reference, placed, n_modes, k)
        member = np.eye(n_modes)[placed.modes] * (rows & np.isfinite(covered))[:, None]
        both = np.stack([member * np.nan_to_num(covered)[:, None], member], 1)
        return block_sums(both, blocks).reshape(-1, 2, n_modes)

    own = counts(vanilla, np.ones_like(switched))
    new = counts(arm, switched) * (
        own[:, 1].sum(0) > 0
    )  # modes that vanilla never shows have nothing to be held against
    weights = new[:, 1].sum(0)
    n = int(weights.sum())
    if n == 0:
        why = f"no target mode has both more than {k} reference images and a vanilla image"
        return all_missing(PRECISIONS, why, n=0)
    entries = _entries(new.sum(2), [own[:, :, mode] for mode in range(n_modes)], weights, bootstrap)
    if n < FEWEST:
        entries[2] = missing(f"fewer than {FEWEST} switched images are behind it: {n}")
    return {name: replace(number, n=n) for name, number in zip(PRECISIONS, entries, strict=True)}


def _entries(new: Array, own: Sequence[Array], weights: Array, bootstrap: BlockBootstrap) -> list[Number]:
    """Precision of the arm (B, 2), that of vanilla by mode (B, 2) with the arm's weights, and their ratio.

    Both are drawn at random from what their intervals say at every level, by mode; so a precision of 1 of a few images is
    not taken for certain.
    """
    used = [mode for mode in range(len(own)) if weights[mode] > 0]
    shares = weights[used] / weights.sum()
    value = new[:, 0].sum() / new[:, 1].sum()
    vanilla = float(sum(w * own[m][:, 0].sum() / own[m][:, 1].sum() for w, m in zip(shares, used, strict=True)))
    precision = share_interval(new, bootstrap.level)
    generator = np.random.default_rng([bootstrap.seed, 3])
    drawn = [drawn_shares(sums, bootstrap.repeats, generator) for sums in (new, *(own[m] for m in used))]
    known = [it for it in drawn if it is not None]
    drawn_new, drawn_own = np.array([]), np.array([])
    if len(known) == len(drawn):
        drawn_new, drawn_own = known[0], shares @ np.stack(known[1:])
    ratio = missing("vanilla images of these modes reach a precision of 0")
    if vanilla > 0:
        ratio = bootstrap.middle(value / vanilla, drawn_new / drawn_own, len(new))
    return [precision, bootstrap.middle(vanilla, drawn_own, len(new)), ratio]
