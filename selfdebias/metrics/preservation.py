"""What guidance leaves alone: an arm against its paired vanilla samples, drawn from the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from selfdebias.metrics.arms import ArmData, Placed
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.features import paired
from selfdebias.metrics.number import Number, all_missing, missing
from selfdebias.metrics.shares import mean_of, rate
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.turned import turned_distance, turned_quality
from selfdebias.metrics.twins import NO_MODES, NO_REFERENCE, Comparison, kept, shown_twins

Array = NDArray[np.float64]


def psnr(images: Tensor, twins: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image against its twin, `-10 log10(mean squared error)`.

    Args:
        images: (B, C, H, W) float in [0, 1].
        twins: the same shape and range.

    Returns:
        (B,) float64 in dB; infinite where image and twin are equal.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> psnr(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5)).round().tolist()
        [20.0]
    """
    if images.shape != twins.shape:
        raise ValueError(f"`twins` must have the shape {tuple(images.shape)} of `images`, got {tuple(twins.shape)}.")
    error = (images.double() - twins.double()).square().flatten(1).mean(1)
    return -10 * torch.log10(error)


def twin_cosine(e: ArrayLike, twin_e: ArrayLike) -> Array:
    """Cosine of each embedding with its twin's.

    Args:
        e: (N, d), no row of zeros.
        twin_e: (N, d), the same order.

    Returns:
        (N,) in [-1, 1].

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> twin_cosine([[2.0, 0.0]], [[0.5, 0.0]]).tolist()
        [1.0]
    """
    e, twin_e = (a.astype(np.float64, copy=False) for a in paired(e, twin_e, least=0))
    if len(e) != len(twin_e):
        raise ValueError(f"`twin_e` must have {len(e)} rows, got {len(twin_e)}.")
    return (e * twin_e).sum(1) / (np.linalg.norm(e, axis=1) * np.linalg.norm(twin_e, axis=1))


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

    Without a reference nothing is said of how good switched images are; without modes (`n_modes` 0) `psnr` and
    `twin_cosine` alone are left.
    """
    reason = compared.why_no_twins(arm, vanilla)
    if reason or vanilla is None:
        return all_missing(TWIN_KEYS, reason)
    arm, vanilla = shown_twins(arm, vanilla)
    cosine, level = twin_cosine(arm.e, vanilla.e), resampling.level
    every = np.ones(len(arm), dtype=bool)
    result = {
        "psnr": _psnr(arm, resampling),
        "twin_cosine": mean_of(cosine, every, arm.blocks, level, "there is no twin", *COSINES),
    }
    if not n_modes:
        return all_missing(TWIN_KEYS, NO_MODES) | result
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


def _psnr(arm: ArmData, resampling: BlockBootstrap) -> Number:
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
    return mean_of(arm.psnr, changed, arm.blocks, resampling.level, reason).stating(**counts)


def paired_agreement(
    arm: ArmData,
    vanilla: ArmData | None,
    attributes: Sequence[str],
    n_modes: int,
    level: float,
    compared: Comparison,
) -> dict[str, Any] | Number:
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
