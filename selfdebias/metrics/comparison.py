"""What an arm is held against: the baseline with the paired samples of one seed, and the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.metric import MetricSuite
from selfdebias.metrics.number import Number, missing

VANILLA, GUIDED = "vanilla", "guided"
NO_MODES = "no modes are known; name a finished job with evaluate.modes"
NO_REFERENCE = "there are no reference images; name a folder or file with evaluate.reference"
OTHER_SEEDS = "other seeds"  # of an arm whose seeds were chosen; those that it shares are the same images


@dataclass(frozen=True)
class Comparison:
    """What arms are held against.

    Args:
        baseline: Name of the arm that the others are compared with.
        twins_by: What paired samples have in common, in words.
    """

    baseline: str = VANILLA
    twins_by: str = "seeds"


@dataclass(frozen=True)
class Sets:
    """The images of an arm and those that it is held against, flagged ones among them, and how they are measured.

    Args:
        arm: the images.
        vanilla: the baseline, which is the arm itself where that is measured; None where there is none.
        reference: vanilla images of other seeds, or any that quality is held against; None where there are none.
        suite: hyper-parameters of the metrics.
        resampling: repeats, seed and level of the intervals.
        compared: which arm is the baseline.
        n_modes: K, of axes the number of cells; 0 where no modes are known.
        axes: A where the modes are the cells of axes, else 0.
    """

    arm: ArmData
    vanilla: ArmData | None
    reference: ArmData | None
    suite: MetricSuite = field(default_factory=MetricSuite)
    resampling: BlockBootstrap = field(default_factory=BlockBootstrap)
    compared: Comparison = field(default_factory=Comparison)
    n_modes: int = 0
    axes: int = 0

    def each(self, change: Callable[[ArmData], ArmData]) -> Sets:
        """Change all that are there."""
        vanilla, reference = (None if data is None else change(data) for data in (self.vanilla, self.reference))
        return replace(self, arm=change(self.arm), vanilla=vanilla, reference=reference)

    def shown(self) -> Sets:
        """The images that no safety checker replaced."""
        return self.each(lambda data: data.rows(~data.blanked) if data.blanked.any() else data)

    def pairs(self, with_modes: bool = False) -> tuple[ArmData, ArmData] | Number:
        """Return the arm's images and, row by row, their paired vanilla samples; pairs of which one is flagged are left out.

        Args:
            with_modes: whether their modes have to be known.

        Returns:
            both, or the null that says why there are none.
        """
        arm, vanilla, baseline = self.arm, self.vanilla, self.compared.baseline
        if arm.arm == baseline:
            return missing(f"{baseline} images have no other {baseline} twin")
        if vanilla is None:
            return missing(f"there is no {baseline} arm")
        rows, twins = paired_rows(arm.seeds, vanilla.seeds)
        if not len(rows):
            return missing(f"the arm's {self.compared.twins_by} are not those of the {baseline} arm")
        if len(rows) < len(arm) and self.compared.twins_by == "seeds":
            return missing(OTHER_SEEDS)
        shown = ~(arm.blanked[rows] | vanilla.blanked[twins])
        if not shown.any():
            return missing("each image or its twin is blanked")
        if with_modes and not self.n_modes:
            return missing(NO_MODES)
        return arm.rows(rows[shown]), vanilla.rows(twins[shown])

    def floor_pair(self, reference: ArmData) -> tuple[str, ArmData, ArmData]:
        """Return what the floor of a metric against the reference is of, and the two sets that it is measured between."""
        baseline = self.compared.baseline
        if self.vanilla is not None and self.arm.arm != baseline:
            return f"the {baseline} arm against the same reference", self.vanilla, reference
        even, odd = (reference.rows(np.arange(first, len(reference), 2)) for first in (0, 1))
        return "half of the reference against the other half", even, odd


def paired_rows(seeds: NDArray[np.uint64], others: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the paired samples on both sides, in the order of the first.

    Args:
        seeds: (N,) seeds of an arm.
        others: (M,) seeds of the other.

    Returns:
        Two times (T,) row numbers; equal arrays give all rows, even where a seed occurs twice.

    Example:
        >>> rows, twins = paired_rows(np.array([7, 5, 9]), np.array([5, 8, 7]))
        >>> rows.tolist(), twins.tolist()
        ([0, 1], [2, 0])
    """
    if np.array_equal(seeds, others):
        return np.arange(len(seeds)), np.arange(len(seeds))
    _, rows, twins = np.intersect1d(seeds, others, return_indices=True)
    order = np.argsort(rows)
    return rows[order], twins[order]


def kept(modes: ArrayLike, twin_modes: ArrayLike) -> NDArray[np.bool_]:
    """Tell which images are in the mode of their paired vanilla sample; the others were *switched*.

    Example:
        >>> kept([0, 1, 1], [0, 0, 1]).tolist()
        [True, False, True]
    """
    modes, twin_modes = np.asarray(modes), np.asarray(twin_modes)
    if modes.shape != twin_modes.shape:
        raise ValueError(f"`twin_modes` must have shape {modes.shape}, got {twin_modes.shape}.")
    return modes == twin_modes
