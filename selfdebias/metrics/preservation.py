"""What guidance leaves alone, and how good the images are that it moves to another mode: each beside its paired vanilla sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from selfdebias.metrics.arms import ArmData, Placed
from selfdebias.metrics.comparison import NO_MODES, NO_REFERENCE, Sets, kept
from selfdebias.metrics.features import cosines
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.metric import Kernel, Metric, MetricSuite
from selfdebias.metrics.number import NO_INTERVAL, Number, all_missing, missing
from selfdebias.metrics.shares import mean_of, rate
from selfdebias.metrics.within_modes import mean_distance, switched_precisions

PAIRED_KEYS = ("turned", "kept_cosine", "turned_cosine", "kept_share", "psnr", "twin_cosine")
COSINES = (-1.0, 1.0)  # their range
KEPT_COSINE = Metric(
    key="kept_cosine",
    title="kept cosine",
    meaning="mean cosine of the images that kept their mode to their vanilla twins from the same seeds; 1: the same images.",
    better="higher",
)
PRECISION_OF_SWITCHED = Metric(
    key="turned/precision_ratio",
    title="precision of switched",
    meaning="how well images that changed their mode fit among vanilla images of that mode, 1: as well as those do themselves; N: "
    "the switched images behind it.",
    better="higher",
)


def psnr(images: Tensor, twins: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image against its paired sample, `-10 log10(mean squared error)`.

    Args:
        images: (B, C, H, W) float in [0, 1].
        twins: the same shape and range.

    Returns:
        (B,) float64 in dB; infinite where both are equal.

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


def preservation(sets: Sets) -> dict[str, Any]:
    """Measure an arm against its paired vanilla samples, for each of `PAIRED_KEYS`; null where it has none.

    Without a reference nothing is said of how good switched images are; without modes `psnr` and `twin_cosine` alone are left.
    """
    pairs = sets.pairs()
    if isinstance(pairs, Number):
        return all_missing(PAIRED_KEYS, pairs.reason)
    arm, vanilla = pairs
    cosine, level = cosines(arm.e, vanilla.e), sets.resampling.level
    every = np.ones(len(arm), dtype=bool)
    result = {
        "psnr": _psnr(arm, level),
        "twin_cosine": mean_of(cosine, every, arm.blocks, level, "there is no twin", *COSINES),
    }
    if not sets.n_modes:
        return all_missing(PAIRED_KEYS, NO_MODES) | result
    same = kept(arm.modes, vanilla.modes)
    return result | {
        "turned": _switched(sets, arm, vanilla),
        "kept_cosine": mean_of(cosine, same, arm.blocks, level, "no image kept its mode", *COSINES),
        "turned_cosine": mean_of(cosine, ~same, arm.blocks, level, "no image switched", *COSINES),
        "kept_share": rate(same, arm.blocks, level),
    }


def _switched(sets: Sets, arm: ArmData, vanilla: ArmData) -> dict[str, Any]:
    real, suite, n_modes = vanilla if sets.reference is None else sets.reference, sets.suite, sets.n_modes
    among, own, new = (Placed(data.compared, data.modes) for data in (real, vanilla, arm))
    found = switched_quality(among, own, new, n_modes, arm.blocks, sets.resampling, suite)
    found |= switched_distance("cmmd", suite.cmmd_kernel, real.placed, vanilla.placed, arm.placed, n_modes)
    if sets.reference is None:
        return found | all_missing([key for key in found if key not in ("n", "share")], NO_REFERENCE)
    return found


def switched_quality(
    reference: Placed,
    vanilla: Placed,
    arm: Placed,
    n_modes: int,
    blocks: ArrayLike,
    bootstrap: BlockBootstrap,
    suite: MetricSuite,
) -> dict[str, int | Number]:
    """Measure the images of an arm whose mode is not that of their paired vanilla sample.

    `precision` is the share of switched images inside the k-NN balls of the reference images that have their new mode.
    `vanilla_precision` is what the vanilla arm's own images of each mode reach against the same reference, with the
    modes weighted as they occur among the switched images, and `precision_ratio` the first over the second, where at least
    5 switched images are behind it. `kid` and `vanilla_kid` are those of `switched_distance`. A mode with too few
    images for a measure is left out of both sides of it; `n` of that entry says how many switched images stand behind it.

    Args:
        reference: vanilla images of other seeds, with their modes.
        vanilla: the arm's paired samples, same order.
        arm: the arm's images.
        n_modes: K.
        blocks: (N,) block of each image of the arm and of its paired sample; intervals hold the reference fixed.
        bootstrap: repeats, seed and level.
        suite: its number of neighbours and kernel of KID are taken.

    Returns:
        `n` (switched images), `share`, and `precision`, `vanilla_precision`, `precision_ratio`, `kid` and `vanilla_kid`.
    """
    switched = ~kept(arm.modes, vanilla.modes)
    return {
        "n": int(switched.sum()),
        "share": rate(switched, np.asarray(blocks), bootstrap.level),
        **switched_precisions(reference, vanilla, arm, n_modes, blocks, bootstrap, suite.nearest),
        **switched_distance("kid", suite.kid_kernel, reference, vanilla, arm, n_modes),
    }


def switched_distance(
    name: str, kernel: Kernel, reference: Placed, vanilla: Placed, arm: Placed, n_modes: int
) -> dict[str, Number]:
    """Average a kernel distance from the reference inside the modes that images switched to, weighted by these images.

    Returns:
        `<name>` for the switched images, and `vanilla_<name>` for the vanilla arm's own images of these modes.
    """
    names, switched = (name, f"vanilla_{name}"), ~kept(arm.modes, vanilla.modes)
    if not switched.any():
        return all_missing(names, "no image switched", n=0)
    moved = Placed(arm.e[switched], arm.modes[switched])
    means = mean_distance((moved, reference, vanilla, reference), kernel, n_modes)
    if means is None:
        return all_missing(names, "no target mode has at least 2 images each of switched, vanilla and reference", n=0)
    return {name: Number(value, n=means.n, reason=NO_INTERVAL) for name, value in zip(names, means[:2], strict=True)}


def _psnr(arm: ArmData, level: float) -> Number:
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
    return mean_of(arm.psnr, changed, arm.blocks, level, reason).stating(**counts)


def paired_agreement(sets: Sets, attributes: Sequence[str]) -> dict[str, Any] | Number:
    """Share of pairs of one seed in which the judge sees the same class, by attribute.

    The shares of a class may stay while images change theirs both ways; this counts the images. A pair counts where the
    judge is sure of both.

    Args:
        sets: the images and the baseline, among them their paired samples.
        attributes: judged attributes, or intersections.

    Returns:
        by attribute, entries `switched` (pairs of two modes) and `unswitched` (of one); or one null with the reason.
    """
    pairs = sets.pairs(with_modes=True)
    if isinstance(pairs, Number):
        return pairs
    arm, vanilla = pairs
    same_mode = kept(arm.modes, vanilla.modes)

    def entries(attribute: str) -> dict[str, Any]:
        """Of the pairs in which the judge is sure of both images: how many are of one class."""
        (labels, sure), (twins, twins_sure) = arm.labels(attribute), vanilla.labels(attribute)
        both, same = sure & twins_sure, labels == twins

        def agreed(rows: NDArray[np.bool_], none: str) -> Number:
            chosen = rows & both
            if not chosen.any():
                return missing("the judge is sure of no such pair" if rows.any() else none, n=0)
            return rate(same[chosen], arm.blocks[chosen], sets.resampling.level)

        return {
            "switched": agreed(~same_mode, "no image switched"),
            "unswitched": agreed(same_mode, "no image kept its mode"),
        }

    return {name: entries(name) for name in attributes}
