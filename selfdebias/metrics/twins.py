"""Which images of two arms are twins: those of equal seed, or of equal name where a name stands for a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.arms import ArmData

VANILLA = "vanilla"
NO_MODES = "no modes are known; name a finished job with evaluate.modes"
NO_REFERENCE = "there are no reference images; name a folder or file with evaluate.reference"


@dataclass(frozen=True)
class Comparison:
    """What arms are held against.

    Args:
        baseline: Name of the arm that the others are compared with.
        twins_by: What twins have in common, in words.
    """

    baseline: str = VANILLA
    twins_by: str = "seeds"

    def why_no_twins(self, arm: ArmData, vanilla: ArmData | None) -> str:
        """Why no image of `arm` can be held against a twin in the baseline, "" if some can.

        Args:
            arm: All images of the arm.
            vanilla: All images of the baseline; None if there is none.
        """
        if arm.arm == self.baseline:
            return f"{self.baseline} images have no other {self.baseline} twin"
        if vanilla is None:
            return f"there is no {self.baseline} arm"
        rows, twins = twin_rows(arm.seeds, vanilla.seeds)
        if not len(rows):
            return f"the arm's {self.twins_by} are not those of the {self.baseline} arm"
        return "each image or its twin is blanked" if (arm.blanked[rows] | vanilla.blanked[twins]).all() else ""


def twin_rows(seeds: NDArray[np.uint64], others: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the twins on both sides, in the order of the first.

    Args:
        seeds: (N,) seeds of an arm.
        others: (M,) seeds of the other.

    Returns:
        Two times (T,) row numbers; equal arrays give all rows, even where a seed occurs twice.

    Example:
        >>> rows, twins = twin_rows(np.array([7, 5, 9]), np.array([5, 8, 7]))
        >>> rows.tolist(), twins.tolist()
        ([0, 1], [2, 0])
    """
    if np.array_equal(seeds, others):
        return np.arange(len(seeds)), np.arange(len(seeds))
    _, rows, twins = np.intersect1d(seeds, others, return_indices=True)
    order = np.argsort(rows)
    return rows[order], twins[order]


def shown_twins(arm: ArmData, vanilla: ArmData) -> tuple[ArmData, ArmData]:
    """The images of both arms that have a twin and are, like it, not blanked, twin beside twin."""
    rows, twins = twin_rows(arm.seeds, vanilla.seeds)
    shown = ~(arm.blanked[rows] | vanilla.blanked[twins])
    return arm.rows(rows[shown]), vanilla.rows(twins[shown])


def kept(modes: ArrayLike, twin_modes: ArrayLike) -> NDArray[np.bool_]:
    """Tell which images are in the mode of their vanilla twin; the others were *turned*.

    Example:
        >>> kept([0, 1, 1], [0, 0, 1]).tolist()
        [True, False, True]
    """
    modes, twin_modes = np.asarray(modes), np.asarray(twin_modes)
    if modes.shape != twin_modes.shape:
        raise ValueError(f"`twin_modes` must have shape {modes.shape}, got {twin_modes.shape}.")
    return modes == twin_modes
