"""Entries of quality: how far an arm's images are from the reference, and how well they go with their prompts."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.entries import NO_INTERVAL, Entry, mean_of, measured, missing
from selfdebias.metrics.frechet import frechet_distance
from selfdebias.metrics.mmd import Kernel, mmd, mmd_interval
from selfdebias.metrics.neighbours import knn_covered, knn_recall
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary_fairness import rate
from selfdebias.metrics.twins import VANILLA

KEYS = ("fid", "kid", "cmmd", "precision", "recall")
Measure = Callable[[ArmData, ArmData], Entry]


def distances(
    arm: ArmData,
    vanilla: ArmData | None,
    reference: ArmData,
    suite: MetricSuite,
    resampling: BlockBootstrap,
    baseline: str = VANILLA,
) -> dict[str, Entry]:
    """Measure each of `KEYS` of an arm against the reference, each with the floor that vanilla images have.

    The floor is the same measure of the vanilla arm against the same reference; for the vanilla arm itself (`vanilla`
    None) it is that of one half of the reference against the other, and `floor_of` says which. FID, KID, precision and
    recall compare images by the extractor's features where there is one, CMMD by the encoder's unit embeddings always;
    `features` is the width of those used. FID and recall have no interval, and their `reason` says why.
    """
    floor_of, left, right = floor_pair(vanilla, reference, baseline)
    results, floors = {}, _measures(suite, None)
    for key, measure in _measures(suite, resampling).items():
        dim = (arm.e if key == "cmmd" else arm.compared).shape[1]
        sizes = {"n": len(arm), "reference_n": len(reference), "features": dim, "floor_of": floor_of}
        results[key] = sizes | measure(arm, reference) | floor(floors[key](left, right))
    return results


def floor_pair(vanilla: ArmData | None, reference: ArmData, baseline: str = VANILLA) -> tuple[str, ArmData, ArmData]:
    """Return what the floor is of, and the two sets of images that it is measured between."""
    if vanilla is not None:
        return f"the {baseline} arm against the same reference", vanilla, reference
    even, odd = (reference.rows(np.arange(first, len(reference), 2)) for first in (0, 1))
    return "half of the reference against the other half", even, odd


def floor(entry: Entry) -> Entry:
    """Return the value of an entry as the floor of another, or the reason why there is none."""
    reason = {"floor_reason": entry["reason"]} if entry["value"] is None else {}
    return {"floor": entry["value"], **reason}


def _measures(suite: MetricSuite, resampling: BlockBootstrap | None) -> dict[str, Measure]:
    def recall(arm: ArmData, reference: ArmData) -> Entry:
        return measured(knn_recall(reference.compared, arm.compared, suite.nearest), reason=NO_INTERVAL)

    def precision(arm: ArmData, reference: ArmData) -> Entry:
        return rate(knn_covered(reference.compared, arm.compared, suite.nearest), arm.blocks, suite.level)

    def kid(arm: ArmData, reference: ArmData) -> Entry:
        return _mmd(arm.compared, reference.compared, arm, reference, suite.kid_kernel, resampling)

    def cmmd(arm: ArmData, reference: ArmData) -> Entry:
        return _mmd(arm.e, reference.e, arm, reference, suite.cmmd_kernel, resampling)

    measures = (_frechet, kid, cmmd, precision, recall)
    return {key: _or_why_not(measure) for key, measure in zip(KEYS, measures, strict=True)}


def _or_why_not(measure: Measure) -> Measure:
    """Turn a refusal (too few images) into a null with the reason, and a warning into a part of the entry."""

    def tried(arm: ArmData, reference: ArmData) -> Entry:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                entry = measure(arm, reference)
            except ValueError as error:
                return missing(str(error))
        return entry | ({"warning": str(caught[0].message)} if caught else {})

    return tried


def _frechet(arm: ArmData, reference: ArmData) -> Entry:
    return measured(frechet_distance(arm.compared, reference.compared), reason=NO_INTERVAL)


def _mmd(
    x: np.ndarray, y: np.ndarray, arm: ArmData, reference: ArmData, kernel: Kernel, resampling: BlockBootstrap | None
) -> Entry:
    value = mmd(x, y, kernel)
    if resampling is None:
        return measured(value)
    return measured(value, mmd_interval(x, y, arm.blocks, reference.blocks, resampling, kernel))


def clip_score_of(arm: ArmData, level: float) -> Entry:
    """Average the CLIP score over the images that were drawn from a prompt.

    `at_zero` counts the images whose score is 0, its lower bound: where they are many, the mean says little.
    """
    if arm.clip_score is None:
        return missing("the encoder embeds no text")
    prompted, at_zero = np.isfinite(arm.clip_score), int((arm.clip_score == 0).sum())
    reason = "no image was drawn from a prompt"
    return mean_of(arm.clip_score, prompted, arm.blocks, level, reason, least=0, most=100) | {"at_zero": at_zero}
