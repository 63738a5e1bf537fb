"""Reads numbers out of `results.json`, where a value may be null and then says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.number import Number, leaves, number_at

INTERVAL = "95% intervals over batches"


def attributes_of(results: Mapping[str, Any]) -> list[str]:
    """Judged attributes of a job: those that the prompts name first, in their order, then any other.

    >>> arm = {"shares": {"gender": {}, "tone": {}}, "fid": {}}
    >>> attributes_of({"prompts": {"attributes": ["tone"]}, "arms": {"vanilla": arm}})
    ['tone', 'gender']
    """
    found = [name for arm in results["arms"].values() for name in arm.get("shares", {})]
    wanted = [name for name in results.get("prompts", {}).get("attributes", []) if name in found]
    return list(dict.fromkeys([*wanted, *found]))


def arms_of(results: Mapping[str, Any]) -> list[str]:
    """Arms of a job: the one that all are compared with first, then guided, then the others (a file has them sorted).

    >>> arms_of({"arms": {"guided": {}, "random": {}, "vanilla": {}}})
    ['vanilla', 'guided', 'random']
    """
    first = [name for name in (results.get("baseline", "vanilla"), "guided") if name in results["arms"]]
    return list(dict.fromkeys([*first, *results["arms"]]))


def class_shares(results: Mapping[str, Any], arm: str, attribute: str) -> dict[str, Number]:
    """Share of each class of one attribute in one arm, in the judge's class order."""
    shares = results["arms"][arm].get("shares", {}).get(attribute, {})
    if not isinstance(shares, Mapping) or "reason" in shares:
        return {}
    order = results.get("judge", {}).get("classes", {}).get(attribute, [])
    names = dict.fromkeys([*(name for name in order if name in shares), *shares])
    return {name: number_at(shares, name) for name in names}


def images_of(results: Mapping[str, Any], arm: str) -> int | None:
    """Number of images of an arm: the largest `n` that any number of it states."""
    counts = [Number.from_json(leaf).n for _, leaf in leaves(results["arms"][arm])]
    return max((count for count in counts if count is not None), default=None)


def batches_of(results: Mapping[str, Any], arm: str) -> int | None:
    """Number of batches that the intervals of an arm were resampled from, as far as a number states it."""
    counts = [Number.from_json(leaf).blocks for _, leaf in leaves(results["arms"][arm])]
    return max((count for count in counts if count is not None), default=None)


def clip_score(arm: Mapping[str, Any]) -> Number:
    """The CLIP score of an arm, or why it says nothing: most of its images are at its lower bound.

    >>> clip_score({"clip_score": {"value": 0.16, "n": 32, "at_zero": 31}}).reason
    '31 of 32 images at its lower bound of 0'
    """
    score = number_at(arm, "clip_score")
    at_zero = score.more.get("at_zero", 0)
    if score.value is not None and score.n and 2 * at_zero > score.n:
        return Number(reason=f"{at_zero} of {score.n} images at its lower bound of 0")
    return score


def time_ratio(results: Mapping[str, Any], arm: str) -> Number:
    """Seconds an image of an arm over those of the vanilla arm."""
    seconds = number_at(results, "cost", "seconds_per_image", arm)
    vanilla = number_at(results, "cost", "seconds_per_image", "vanilla")
    if seconds.value is None or not vanilla.value:
        return Number(reason=seconds.reason or vanilla.reason or "the vanilla arm took no time")
    return Number(seconds.value / vanilla.value)
