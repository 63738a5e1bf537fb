"""Metrics inside each mode, so that a new mix of modes, which is what guidance is for, is not held against an arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.features import features

Array = NDArray[np.float64]


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
