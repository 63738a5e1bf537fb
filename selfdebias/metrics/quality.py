"""How far an arm's images are from the reference: each distance with the floor that vanilla images have."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfdebias.metrics import registry
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.frechet import FRECHET
from selfdebias.metrics.metric import Metric
from selfdebias.metrics.number import Number, missing
from selfdebias.metrics.suite import INCEPTION, MetricSuite
from selfdebias.metrics.twins import VANILLA

FID = "fid"  # what Inception's Frechet distance is called


def distances(
    arm: ArmData,
    vanilla: ArmData | None,
    reference: ArmData,
    suite: MetricSuite,
    resampling: BlockBootstrap,
    baseline: str = VANILLA,
    keys: Sequence[str] | None = None,
    own: Mapping[str, Number] | None = None,
) -> dict[str, Number]:
    """Measure each metric of an arm against the reference, each with the floor that vanilla images have.

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
        keys: of metrics, all by default; `frechet_distance` is called `fid` where Inception made the features (`keys_for`).
        own: what is measured of the vanilla arm against this reference, where it is: the floors need not be measured again.
    """
    floor_of, left, right = floor_pair(vanilla, reference, baseline)
    results = {}
    for key in keys or keys_for({}):
        metric = metric_of(key)
        dim = (arm.e if metric.by_encoder else arm.compared).shape[1]
        sizes = {"n": len(arm), "reference_n": len(reference), "features": dim, "floor_of": floor_of}
        least = own[key] if own else _measured(metric, left, right, suite, None)
        results[key] = _measured(metric, arm, reference, suite, resampling).stating(**sizes, **floor(least))
    return results


def metric_of(key: str) -> Metric:
    """Return the metric behind a key of an arm's distances; `fid` is Inception's Frechet distance."""
    return next(metric for metric in registry.METRICS if metric.key == (FRECHET.key if key == FID else key))


def keys_for(features: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of an arm's distances by these features: FID is the name of Inception's Frechet distance alone.

    Example:
        >>> keys_for({"name": "emoji_clip", "dim": 64})[0], keys_for({"name": INCEPTION, "dim": 2048})[0]
        ('frechet_distance', 'fid')
    """
    keys = (metric.key for metric in registry.METRICS)
    return tuple(FID if key == FRECHET.key and features.get("name") == INCEPTION else key for key in keys)


def floor_pair(vanilla: ArmData | None, reference: ArmData, baseline: str = VANILLA) -> tuple[str, ArmData, ArmData]:
    """Return what the floor is of, and the two sets of images that it is measured between."""
    if vanilla is not None:
        return f"the {baseline} arm against the same reference", vanilla, reference
    even, odd = (reference.rows(np.arange(first, len(reference), 2)) for first in (0, 1))
    return "half of the reference against the other half", even, odd


def floor(number: Number) -> dict[str, Any]:
    """Return the value of a number as the floor of another, or the reason why there is none."""
    return {"floor": number.value} | ({"floor_reason": number.reason} if number.value is None else {})


def _measured(
    metric: Metric, arm: ArmData, reference: ArmData, suite: MetricSuite, resampling: BlockBootstrap | None
) -> Number:
    """Measure, and turn a refusal (too few images) into a null with the reason, a warning into a part of the number."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            number = metric.measure(arm, reference, suite, resampling)
        except ValueError as error:
            return missing(str(error))
    return number.stating(warning=str(caught[0].message)) if caught else number
