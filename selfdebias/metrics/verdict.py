"""Which arm is fairer: said only where the intervals are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.number import Number

FAIRER, LESS_FAIR, NOT_TOLD_APART = "fairer", "less fair", "not told apart"  # as results.json holds them

# The same, and where there is none, as tables and pages say it.
IN_WORDS = {FAIRER: FAIRER, LESS_FAIR: LESS_FAIR, NOT_TOLD_APART: "no detectable difference", None: "cannot be told"}


def compare(number: Number, baseline: Number) -> str | None:
    """Compare a distance (smaller is fairer) with the baseline's.

    Intervals that overlap tell nothing apart, though a sharper test of the difference might: this is the cautious side.

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


def verdicts(arms: Mapping[str, Mapping[str, Any]], baseline: str, attributes: list[str]) -> dict[str, Any]:
    """Compare each arm with the baseline, by `fd_hard` of each attribute and by `mode_fd`, or by `fd` of each axis.

    Args:
        arms: by arm, its numbers.
        baseline: the arm that the others are compared with.
        attributes: judged attributes.

    Returns:
        by arm, by attribute and `modes` (of axes `axis 0`, `axis 1` and so on): a verdict, or None where it cannot be given; {}
        without a baseline.
    """
    if baseline not in arms:
        return {}

    def of(arm: Mapping[str, Any]) -> dict[str, str | None]:
        own = {name: compare(arm[name]["fd_hard"], arms[baseline][name]["fd_hard"]) for name in attributes}
        pairs = zip(arm.get("axes", []), arms[baseline].get("axes", []), strict=True)
        own |= {f"axis {a}": compare(one["fd"], other["fd"]) for a, (one, other) in enumerate(pairs)}
        if arm["mode_fd"].value is None:  # no modes are known, or there are axes
            return own
        return own | {"modes": compare(arm["mode_fd"], arms[baseline]["mode_fd"])}

    return {name: of(arm) for name, arm in arms.items() if name != baseline}
