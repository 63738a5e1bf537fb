"""Entries of preservation: an arm against its vanilla twins, drawn from the same seeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.entries import Entry, mean_of, missing
from selfdebias.metrics.modes import Placed
from selfdebias.metrics.preservation import kept, twin_cosine
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary_fairness import rate
from selfdebias.metrics.turned import turned_distance, turned_quality

TWIN_KEYS = ("turned", "kept_cosine", "kept_share", "psnr")


def preservation(
    arm: ArmData,
    vanilla: ArmData | None,
    reference: ArmData,
    n_modes: int,
    suite: MetricSuite,
    resampling: BlockBootstrap,
) -> dict[str, Any]:
    """Measure an arm against its vanilla twins, for each of `TWIN_KEYS`; null where it has none."""
    reason = _why_no_twins(arm, vanilla)
    if reason or vanilla is None:
        return {key: missing(reason) for key in TWIN_KEYS}
    shown = ~(arm.blanked | vanilla.blanked)
    arm, vanilla = arm.rows(shown), vanilla.rows(shown)
    same = kept(arm.modes, vanilla.modes)
    real, own, new = (Placed(data.compared, data.modes) for data in (reference, vanilla, arm))
    turned = turned_quality(real, own, new, n_modes, arm.blocks, resampling, suite.nearest, suite.kid_kernel)
    embedded = reference.placed, vanilla.placed, arm.placed
    return {
        "turned": turned | turned_distance("cmmd", suite.cmmd_kernel, *embedded, n_modes),
        "kept_cosine": mean_of(
            twin_cosine(arm.e, vanilla.e), same, arm.blocks, resampling.level, "no image kept its mode"
        ),
        "kept_share": rate(same, arm.blocks, resampling.level),
        "psnr": _psnr(arm, resampling),
    }


def _why_no_twins(arm: ArmData, vanilla: ArmData | None) -> str:
    if arm.arm == "vanilla":
        return "vanilla images have no other vanilla twin"
    if vanilla is None:
        return "there is no vanilla arm"
    if not np.array_equal(arm.seeds, vanilla.seeds):
        return "the arm's seeds are not those of the vanilla arm"
    return "" if (~(arm.blanked | vanilla.blanked)).any() else "each image or its twin is blanked"


def _psnr(arm: ArmData, resampling: BlockBootstrap) -> Entry:
    """Mean over the images that changed at all; `identical` counts the others, whose PSNR is infinite."""
    if arm.psnr is None:
        return missing("the images were not compared with their twins")
    changed = np.isfinite(arm.psnr)
    reason = "each image is identical to its twin"
    return mean_of(arm.psnr, changed, arm.blocks, resampling.level, reason) | {"identical": int((~changed).sum())}
