"""Which arm is fairer: said only where the intervals are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.entries import Entry

FAIRER, LESS_FAIR, NOT_TOLD_APART = "fairer", "less fair", "not told apart"


def compare(entry: Entry, baseline: Entry) -> str | None:
    """Compare a distance (smaller is fairer) with the baseline's.

    Intervals that overlap tell nothing apart, though a sharper test of the difference might: this is the cautious side.

    Returns:
        one of the three verdicts, or None where an interval is missing.

    Example:
        >>> vanilla = {"value": 0.35, "low": 0.31, "high": 0.39}
        >>> compare({"value": 0.02, "low": 0.0, "high": 0.05}, vanilla)
        'fairer'
        >>> compare({"value": 0.30, "low": 0.26, "high": 0.34}, vanilla)
        'not told apart'
    """
    bounds = [it[side] for it in (entry, baseline) for side in ("low", "high") if it.get(side) is not None]
    if len(bounds) < 4:
        return None
    low, high, baseline_low, baseline_high = bounds
    if high < baseline_low:
        return FAIRER
    return LESS_FAIR if low > baseline_high else NOT_TOLD_APART


def verdicts(arms: Mapping[str, Mapping[str, Any]], baseline: str, attributes: list[str]) -> dict[str, Any]:
    """Compare each arm with the baseline, by `fd_hard` of each attribute and by `mode_fd`, or by `fd` of each axis.

    Args:
        arms: by arm, its entries.
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
        if arm["mode_fd"].get("value", 0) is None:  # no modes are known, or there are axes
            return own
        return own | {"modes": compare(arm["mode_fd"], arms[baseline]["mode_fd"])}

    return {name: of(arm) for name, arm in arms.items() if name != baseline}
