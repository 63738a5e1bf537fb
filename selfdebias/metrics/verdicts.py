"""Which arm is fairer than the baseline: verdicts by paired differences, with Holm's correction over all of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from selfdebias.metrics.number import Number, number_at

Arms = Mapping[str, Mapping[str, Any]]  # by arm, its numbers
FAIRER, LESS_FAIR, NOT_TOLD_APART = "fairer", "less fair", "not told apart"  # as results.json holds them

# The same, and where there is none, as tables and pages say it.
IN_WORDS = {FAIRER: FAIRER, LESS_FAIR: LESS_FAIR, NOT_TOLD_APART: "no detectable difference", None: "cannot be told"}


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


def unpaired_p(number: Number, baseline: Number, level: float) -> float | None:
    """Return how probable a difference of at least that size is where there is none, two-sided; None without an interval.

    Args:
        number, baseline: distances of arms of different seeds, which are taken for independent and normal.
        level: of their intervals; of each, the side that faces the other counts.

    Example:
        >>> unpaired_p(Number(0.2, 0.1, 0.3), Number(0.5, 0.4, 0.6), 0.95) < 0.001
        True
    """
    lower, upper = sorted((number, baseline), key=lambda it: it.value or 0.0)
    if lower.value is None or lower.high is None or upper.value is None or upper.low is None:
        return None
    gap = upper.value - lower.value
    error = np.hypot(lower.high - lower.value, upper.value - upper.low) / norm.ppf((1 + level) / 2)
    return float(2 * norm.sf(gap / error)) if error else float(gap == 0)


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
            none (other seeds, results of earlier versions) the two intervals have to be apart, and count by `unpaired_p`.
        level: of the intervals, and one minus the probability that any verdict is wrong where there are no differences.

    Returns:
        verdicts, or None where an interval is missing.

    Example:
        >>> apart, near = (Number(-0.2, low, -0.01, more={"p": p}) for low, p in ((-0.4, 0.001), (-0.39, 0.04)))
        >>> sides = Number(0.1, 0.0, 0.3), Number(0.3, 0.1, 0.5)
        >>> told_apart([(*sides, apart), (*sides, near)]), told_apart([(*sides, apart), (*sides, near), (*sides, near)])
        (['fairer', 'fairer'], ['fairer', 'not told apart', 'not told apart'])
    """
    found: list[str | None] = []
    known = [it.low is not None and it.high is not None and "p" in it.more for *_, it in comparisons]
    every = zip(comparisons, known, strict=True)
    corrected = holm([own[2].more["p"] if paired else unpaired_p(*own[:2], level) for own, paired in every])
    for (number, baseline, difference), paired, p in zip(comparisons, known, corrected, strict=True):
        if p is not None and p >= 1 - level:
            found.append(NOT_TOLD_APART)
        elif not paired or difference.low is None or difference.high is None:
            found.append(compare(number, baseline))
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
