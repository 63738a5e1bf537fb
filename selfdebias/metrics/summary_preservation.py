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
from selfdebias.metrics.twins import NO_MODES, NO_REFERENCE, Comparison, shown_twins

TWIN_KEYS = ("turned", "kept_cosine", "turned_cosine", "kept_share", "psnr", "twin_cosine")
COSINES = (-1.0, 1.0)  # their range


def preservation(
    arm: ArmData,
    vanilla: ArmData | None,
    reference: ArmData | None,
    n_modes: int,
    suite: MetricSuite,
    resampling: BlockBootstrap,
    compared: Comparison,
) -> dict[str, Any]:
    """Measure an arm against its vanilla twins, for each of `TWIN_KEYS`; null where it has none.

    Without a reference nothing is said of how good turned images are; without modes (`n_modes` 0) `psnr` and
    `twin_cosine` alone are left.
    """
    reason = compared.why_no_twins(arm, vanilla)
    if reason or vanilla is None:
        return {key: missing(reason) for key in TWIN_KEYS}
    arm, vanilla = shown_twins(arm, vanilla)
    cosine, level = twin_cosine(arm.e, vanilla.e), resampling.level
    every = np.ones(len(arm), dtype=bool)
    result = {
        "psnr": _psnr(arm, resampling),
        "twin_cosine": mean_of(cosine, every, arm.blocks, level, "there is no twin", *COSINES),
    }
    if not n_modes:
        return {key: missing(NO_MODES) for key in TWIN_KEYS} | result
    same = kept(arm.modes, vanilla.modes)
    return result | {
        "turned": _turned(arm, vanilla, reference, n_modes, suite, resampling),
        "kept_cosine": mean_of(cosine, same, arm.blocks, level, "no image kept its mode", *COSINES),
        "turned_cosine": mean_of(cosine, ~same, arm.blocks, level, "no image was turned", *COSINES),
        "kept_share": rate(same, arm.blocks, level),
    }


def _turned(
    arm: ArmData,
    vanilla: ArmData,
    reference: ArmData | None,
    n_modes: int,
    suite: MetricSuite,
    resampling: BlockBootstrap,
) -> dict[str, Any]:
    real = vanilla if reference is None else reference
    compared, own, new = (Placed(data.compared, data.modes) for data in (real, vanilla, arm))
    turned = turned_quality(compared, own, new, n_modes, arm.blocks, resampling, suite.nearest, suite.kid_kernel)
    turned |= turned_distance("cmmd", suite.cmmd_kernel, real.placed, vanilla.placed, arm.placed, n_modes)
    if reference is None:
        return turned | {key: missing(NO_REFERENCE) for key in turned if key not in ("n", "share")}
    return turned


def _psnr(arm: ArmData, resampling: BlockBootstrap) -> Entry:
    """Mean over the images that changed; `identical` counts those of infinite PSNR, `other_size` those without one."""
    if arm.psnr is None:
        return missing("the images were not compared with their twins")
    changed, other_size = np.isfinite(arm.psnr), np.isnan(arm.psnr)
    counts = {"identical": int((~changed & ~other_size).sum())}
    if other_size.any():
        counts["other_size"] = int(other_size.sum())
    reason = "each image has another size than its twin" if other_size.all() else "each image is identical to its twin"
    if not other_size.all() and other_size.any():
        reason += " or has another size"
    return mean_of(arm.psnr, changed, arm.blocks, resampling.level, reason) | counts
