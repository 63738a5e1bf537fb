"""Entries of quality and preservation: distances of an arm to the reference, and the arm against its vanilla twins."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap, block_sums
from selfdebias.metrics.entries import Entry, measured, missing
from selfdebias.metrics.kid import PolynomialKernel, kid, kid_interval
from selfdebias.metrics.preservation import kept, twin_cosine
from selfdebias.metrics.quality import frechet_distance
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary_fairness import rate
from selfdebias.metrics.turned import MEASURES, turned_quality
from selfdebias.metrics.twins import NO_MODES, NO_REFERENCE, VANILLA, Comparison, shown_twins

DISTANCE_KEYS = ("fid", "kid")
TWIN_KEYS = ("turned", "kept_cosine", "kept_share", "psnr")
Array = NDArray[np.float64]


def distances(
    arm: ArmData,
    vanilla: ArmData | None,
    reference: ArmData,
    suite: MetricSuite,
    resampling: BlockBootstrap,
    baseline: str = VANILLA,
) -> dict[str, Entry]:
    """Measure `fid` and `kid` of an arm against the reference, each with the floor that vanilla images have.

    The floor is the vanilla arm against the same reference; for the vanilla arm itself (`vanilla` None) it is one half
    of the reference against the other, and `floor_of` says which.
    """
    kernel = PolynomialKernel(suite.kid_degree, suite.kid_gamma, suite.kid_coef)
    if vanilla is None:
        floor_of, floor_pair = "half of the reference against the other half", (reference.e[::2], reference.e[1::2])
    else:
        floor_of, floor_pair = f"the {baseline} arm against the same reference", (vanilla.e, reference.e)
    sizes = {"n": len(arm), "reference_n": len(reference), "features": arm.e.shape[1], "floor_of": floor_of}
    return {
        "fid": _frechet(arm.e, reference.e) | _floor(_frechet(*floor_pair)) | sizes,
        "kid": _kid(arm, reference, kernel, resampling) | _floor(_plain_kid(*floor_pair, kernel)) | sizes,
    }


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

    Without a reference nothing is said of how good turned images are; without modes (`n_modes` 0) `psnr` alone is left.
    """
    reason = compared.why_no_twins(arm, vanilla)
    if reason or vanilla is None:
        return {key: missing(reason) for key in TWIN_KEYS}
    arm, vanilla = shown_twins(arm, vanilla)
    if not n_modes:
        return {key: missing(NO_MODES) for key in TWIN_KEYS[:-1]} | {"psnr": _psnr(arm, resampling)}
    kernel = PolynomialKernel(suite.kid_degree, suite.kid_gamma, suite.kid_coef)
    same = kept(arm.modes, vanilla.modes)
    places = vanilla.placed if reference is None else reference.placed, vanilla.placed, arm.placed
    turned = turned_quality(*places, n_modes, arm.blocks, resampling, suite.nearest, kernel)
    if reference is None:
        turned |= {measure: missing(NO_REFERENCE) for measure in MEASURES}
    return {
        "turned": turned,
        "kept_cosine": _mean(twin_cosine(arm.e, vanilla.e), same, arm.blocks, resampling, "no image kept its mode"),
        "kept_share": rate(same, arm.blocks, resampling),
        "psnr": _psnr(arm, resampling),
    }


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
    return _mean(arm.psnr, changed, arm.blocks, resampling, reason) | counts


def _mean(
    values: Array, rows: NDArray[np.bool_], blocks: NDArray[np.int64], resampling: BlockBootstrap, reason: str
) -> Entry:
    """Mean of `values` over the chosen rows, with its interval over blocks."""
    if not rows.any():
        return missing(reason, n=0)
    sums = block_sums(np.stack([np.where(rows, values, 0.0), rows], 1), blocks)

    def mean(total: Array) -> Array:
        return np.divide(total[:, 0], total[:, 1], out=np.full(len(total), np.nan), where=total[:, 1] > 0)

    return measured(values[rows].mean(), resampling.interval(sums, mean), n=int(rows.sum()))


def _frechet(x: Array, y: Array) -> Entry:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            entry = measured(frechet_distance(x, y))
        except ValueError as error:
            return missing(str(error))
    return entry | ({"warning": str(caught[0].message)} if caught else {})


def _plain_kid(x: Array, y: Array, kernel: PolynomialKernel) -> Entry:
    try:
        return measured(kid(x, y, kernel))
    except ValueError as error:
        return missing(str(error))


def _kid(arm: ArmData, reference: ArmData, kernel: PolynomialKernel, resampling: BlockBootstrap) -> Entry:
    entry = _plain_kid(arm.e, reference.e, kernel)
    if entry["value"] is None:
        return entry
    interval = kid_interval(arm.e, reference.e, arm.blocks, reference.blocks, resampling, kernel)
    return measured(entry["value"], interval)


def _floor(entry: Entry) -> Entry:
    reason = {"floor_reason": entry["reason"]} if entry["value"] is None else {}
    return {"floor": entry["value"], **reason}
