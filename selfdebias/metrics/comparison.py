"""What an arm is held against: the baseline with the paired samples of one seed, the reference; and which arm is fairer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.metric import MetricSuite
from selfdebias.metrics.number import Number, missing, number_at

Arms = Mapping[str, Mapping[str, Any]]  # by arm, its numbers
VANILLA, GUIDED = "vanilla", "guided"
NO_MODES = "no modes are known; name a finished job with evaluate.modes"
NO_REFERENCE = "there are no reference images; name a folder or file with evaluate.reference"
OTHER_SEEDS = "other seeds"  # of an arm whose seeds were chosen; those that it shares are the same images
FAIRER, LESS_FAIR, NOT_TOLD_APART = "fairer", "less fair", "not told apart"  # as results.json holds them

# The same, and where there is none, as tables and pages say it.
IN_WORDS = {FAIRER: FAIRER, LESS_FAIR: LESS_FAIR, NOT_TOLD_APART: "no detectable difference", None: "cannot be told"}


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


def compare(number: Number, baseline: Number) -> str | None:
    """Compare a distance (smaller is fairer) with the baseline's, where the two arms are not of the same seeds.

    Intervals that overlap tell nothing apart: this is the cautious side. For paired arms see `told_apart`.

    Returns:
        one of the three verdicts, or None where an interval is missing.

    Example:
        >>> vanilla = Number(0.35, 0.31, 0.39)
        >>> compare(Number(0.02, 0.0, 0.05), vanilla)
        'fairer'
        >>> compare(Number(0.30, 0.26, 0.34), vanilla)
        'not told apart'
    """
    if number.low is None or number.high is None or baseline.low is None or baseline.high is None:
        return None
    if number.high < baseline.low:
        return FAIRER
    return LESS_FAIR if number.low > baseline.high else NOT_TOLD_APART


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Correct p values for their number: where nothing differs, the smallest is below a level with that probability at most.

    Args:
        p: in [0, 1]; None where there is none, which does not count.

    References:
        Holm, A simple sequentially rejective multiple test procedure, 1979.

    Example:
        >>> holm([0.01, None, 0.04, 0.03])
        [0.03, None, 0.06, 0.06]
    """
    rising = sorted((it, place) for place, it in enumerate(p) if it is not None)
    corrected: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (it, place) in enumerate(rising):
        largest = corrected[place] = max(largest, min(1.0, (len(rising) - rank) * it))
    return corrected


def told_apart(comparisons: Sequence[tuple[Number, Number, Number]], level: float = 0.95) -> list[str | None]:
    """Say of each comparison of one table which side is fairer: by the paired difference, with Holm's correction over all.

    Args:
        comparisons: a distance (smaller is fairer), the baseline's, and their paired difference, whose `p` counts; where it has
            none (other seeds, results of earlier versions) the two intervals have to be apart.
        level: one minus the probability that any verdict is wrong where there are no differences.

    Returns:
        verdicts, or None where an interval is missing.

    Example:
        >>> apart, near = (Number(-0.2, low, -0.01, more={"p": p}) for low, p in ((-0.4, 0.001), (-0.39, 0.04)))
        >>> sides = Number(0.1, 0.0, 0.3), Number(0.3, 0.1, 0.5)
        >>> told_apart([(*sides, apart), (*sides, near)]), told_apart([(*sides, apart), (*sides, near), (*sides, near)])
        (['fairer', 'fairer'], ['fairer', 'not told apart', 'not told apart'])
    """
    found: list[str | None] = []
    corrected = holm([difference.more.get("p") for *_, difference in comparisons])
    for (number, baseline, difference), p in zip(comparisons, corrected, strict=True):
        if p is None or difference.low is None or difference.high is None:
            found.append(compare(number, baseline))
        elif p >= 1 - level:
            found.append(NOT_TOLD_APART)
        else:
            found.append(FAIRER if difference.low + difference.high < 0 else LESS_FAIR)
    return found


def verdicts(arms: Arms, baseline: str, attributes: list[str], level: float = 0.95) -> dict[str, Any]:
    """Tell each arm apart from the baseline, by `fd_hard` of each attribute and by `mode_fd`, or by `fd` of each axis.

    Args:
        arms: by arm, its numbers, with those of `difference`.
        baseline: the arm that the others are compared with.
        attributes: judged attributes.
        level: as for `told_apart`, which all verdicts go through together.

    Returns:
        by arm, by attribute and `modes` (of axes `axis 0`, `axis 1` and so on): a verdict, or None where it cannot be given; {}
        without a baseline.
    """
    if baseline not in arms:
        return {}
    names = {}
    for arm in [arm for arm in arms if arm != baseline]:
        own = [*attributes, *(f"axis {a}" for a, _ in enumerate(arms[arm].get("axes", [])))]
        names[arm] = own if number_at(arms[arm], "mode_fd").value is None else [*own, "modes"]
    every = [distances(arms, arm, baseline, name) for arm, own in names.items() for name in own]
    found = iter(told_apart(every, level))
    return {arm: {name: next(found) for name in own} for arm, own in names.items()}


def distances(arms: Arms, arm: str, baseline: str, name: str) -> tuple[Number, Number, Number]:
    """Read the distances of an arm and of the baseline that the verdict called `name` is about, and their paired difference."""

    def of(tree: Any) -> Number:
        found = {f"axis {a}": axis["fd"] for a, axis in enumerate(tree.get("axes", []))}
        found |= {"modes": tree["mode_fd"]} if "mode_fd" in tree else {}
        return number_at(found | ({name: tree[name]["fd_hard"]} if name in tree else {}), name)

    apart = arms[arm].get("difference", {}).get(baseline)
    return of(arms[arm]), of(arms[baseline]), of(apart if isinstance(apart, Mapping) else {})
