"""How far an arm's images are from the reference: each distance with the floor that vanilla images have."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.frechet import frechet_distance
from selfdebias.metrics.mmd import Kernel, bounded_mmd, mmd
from selfdebias.metrics.neighbours import knn_covered, knn_recall
from selfdebias.metrics.number import NO_INTERVAL, Number, missing
from selfdebias.metrics.shares import rate
from selfdebias.metrics.suite import INCEPTION, MetricSuite
from selfdebias.metrics.twins import VANILLA

FID, FRECHET = "fid", "frechet_distance"
KEYS = (FRECHET, "kid", "cmmd", "precision", "recall")
Measure = Callable[[ArmData, ArmData], Number]


def distances(
    arm: ArmData,
    vanilla: ArmData | None,
    reference: ArmData,
    suite: MetricSuite,
    resampling: BlockBootstrap,
    baseline: str = VANILLA,
    keys: Sequence[str] = KEYS,
    own: Mapping[str, Number] | None = None,
) -> dict[str, Number]:
    """Measure each of `keys` of an arm against the reference, each with the floor that vanilla images have.

    The floor is the same measure of the vanilla arm against the same reference; for the vanilla arm itself (`vanilla`
    None) it is that of one half of the reference against the other, and `floor_of` says which. CMMD compares images by
    the encoder's unit embeddings always, the others by the extractor's features where there is one; `features` is the
    width of those used. The Frechet distance and recall have no interval, and their `reason` says why.

    Args:
        arm: the images.
        vanilla: the vanilla arm; None for itself.
        reference: vanilla images of other seeds.
        suite: fixed choices of the metrics.
        resampling: repeats, seed and level.
        baseline: name of the vanilla arm.
        keys: some of `KEYS`; `frechet_distance` is called `fid` where Inception made the features, see `keys_for`.
        own: what is measured of the vanilla arm against this reference, where it is: the floors need not be measured again.
    """
    floor_of, left, right = floor_pair(vanilla, reference, baseline)
    results, floors, measures = {}, _measures(suite, None), _measures(suite, resampling)
    for key in keys:
        dim = (arm.e if key == "cmmd" else arm.compared).shape[1]
        sizes = {"n": len(arm), "reference_n": len(reference), "features": dim, "floor_of": floor_of}
        measured = measures[key](arm, reference)
        results[key] = measured.stating(**sizes, **floor(own[key] if own else floors[key](left, right)))
    return results


def keys_for(features: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of an arm's distances by these features: FID is the name of Inception's Frechet distance alone.

    Example:
        >>> keys_for({"name": "emoji_clip", "dim": 64})[0], keys_for({"name": INCEPTION, "dim": 2048})[0]
        ('frechet_distance', 'fid')
    """
    return (FID, *KEYS[1:]) if features.get("name") == INCEPTION else KEYS


def floor_pair(vanilla: ArmData | None, reference: ArmData, baseline: str = VANILLA) -> tuple[str, ArmData, ArmData]:
    """Return what the floor is of, and the two sets of images that it is measured between."""
    if vanilla is not None:
        return f"the {baseline} arm against the same reference", vanilla, reference
    even, odd = (reference.rows(np.arange(first, len(reference), 2)) for first in (0, 1))
    return "half of the reference against the other half", even, odd


def floor(number: Number) -> dict[str, Any]:
    """Return the value of a number as the floor of another, or the reason why there is none."""
    return {"floor": number.value} | ({"floor_reason": number.reason} if number.value is None else {})


def _measures(suite: MetricSuite, resampling: BlockBootstrap | None) -> dict[str, Measure]:
    def recall(arm: ArmData, reference: ArmData) -> Number:
        return Number(knn_recall(reference.compared, arm.compared, suite.nearest), reason=NO_INTERVAL)

    def precision(arm: ArmData, reference: ArmData) -> Number:
        return rate(knn_covered(reference.compared, arm.compared, suite.nearest), arm.blocks, suite.level)

    def kid(arm: ArmData, reference: ArmData) -> Number:
        return _mmd(arm.compared, reference.compared, arm, reference, suite.kid_kernel, resampling)

    def cmmd(arm: ArmData, reference: ArmData) -> Number:
        return _mmd(arm.e, reference.e, arm, reference, suite.cmmd_kernel, resampling)

    measures = {FID: _frechet, FRECHET: _frechet, "kid": kid, "cmmd": cmmd, "precision": precision, "recall": recall}
    return {key: _or_why_not(measure) for key, measure in measures.items()}


def _or_why_not(measure: Measure) -> Measure:
    """Turn a refusal (too few images) into a null with the reason, and a warning into a part of the entry."""

    def tried(arm: ArmData, reference: ArmData) -> Number:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                number = measure(arm, reference)
            except ValueError as error:
                return missing(str(error))
        return number.stating(warning=str(caught[0].message)) if caught else number

    return tried


def _frechet(arm: ArmData, reference: ArmData) -> Number:
    return Number(frechet_distance(arm.compared, reference.compared), reason=NO_INTERVAL)


def _mmd(
    x: np.ndarray, y: np.ndarray, arm: ArmData, reference: ArmData, kernel: Kernel, resampling: BlockBootstrap | None
) -> Number:
    if resampling is None:
        return Number(mmd(x, y, kernel))
    return bounded_mmd(x, y, arm.blocks, reference.blocks, resampling, kernel)
