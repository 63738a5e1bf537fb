"""Entries of agreement of paired images: does the judge see the same class in an image and in its vanilla twin?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.entries import missing
from selfdebias.metrics.preservation import kept
from selfdebias.metrics.summary_fairness import rate
from selfdebias.metrics.twins import NO_MODES, Comparison, shown_twins


def paired_agreement(
    arm: ArmData,
    vanilla: ArmData | None,
    attributes: Sequence[str],
    n_modes: int,
    level: float,
    compared: Comparison,
) -> dict[str, Any]:
    """Share of pairs of one seed in which the judge sees the same class, by attribute.

    The shares of a class may stay while images change theirs both ways; this counts the images. A pair counts where the
    judge is sure of both.

    Args:
        arm: the images.
        vanilla: the baseline, among them their twins.
        attributes: judged attributes, or intersections.
        n_modes: K, 0 where no modes are known.
        level: of the intervals.
        compared: which arm is the baseline.

    Returns:
        by attribute, entries `switched` (pairs of two modes) and `unswitched` (of one); or one null with the reason.
    """
    reason = compared.why_no_twins(arm, vanilla) or ("" if n_modes else NO_MODES)
    if reason or vanilla is None:
        return missing(reason)
    arm, vanilla = shown_twins(arm, vanilla)
    same_mode = kept(arm.modes, vanilla.modes)

    def entries(attribute: str) -> dict[str, Any]:
        """Of the pairs in which the judge is sure of both images: how many are of one class."""
        (labels, sure), (twins, twins_sure) = arm.labels(attribute), vanilla.labels(attribute)
        both, same = sure & twins_sure, labels == twins
        found = {}
        for name, rows, none in (
            ("switched", ~same_mode, "no image was turned"),
            ("unswitched", same_mode, "no image kept its mode"),
        ):
            chosen = rows & both
            why = none if not rows.any() else "the judge is sure of no such pair"
            known = chosen.any()
            found[name] = rate(same[chosen], arm.blocks[chosen], level) if known else missing(why, n=0)
        return found

    return {name: entries(name) for name in attributes}
