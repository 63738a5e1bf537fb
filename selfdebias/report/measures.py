"""Reads numbers out of `results.json`, where a value may be null and then says why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

INTERVAL = "95% intervals over batches"


@dataclass(frozen=True)
class Measure:
    """One number with what belongs to it.

    Attributes:
        value: The number, or None where it could not be computed.
        low: Lower end of the interval, same unit as `value`.
        high: Upper end of the interval.
        floor: What the value comes to by sampling alone (for instance a fair independent sampler's `fd_hard`).
        n: Number of images behind it.
        reason: Why `value` is None; empty otherwise.
        at_floor: Whether a distance is not told from 0; `high` is then its upper bound.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    n: int | None = None
    reason: str = ""
    at_floor: bool = False


def finite(entry: Any) -> float | None:
    """The entry as a float, or None where it is no finite number.

    >>> finite(0.5), finite(float("nan")), finite("0.5"), finite(True)
    (0.5, None, None, None)
    """
    if isinstance(entry, bool) or not isinstance(entry, (int, float)) or not math.isfinite(entry):
        return None
    return float(entry)


def measure(tree: Any, *path: str) -> Measure:
    """Reads the number at `path`; a null keeps the reason that it, or a parent of it, gives.

    Args:
        tree: A part of `results.json`.
        path: Keys from there to the number or to its `{"value": ...}` mapping.

    Returns:
        The number; `value` is None, with a reason, where there is none.

    >>> measure({"turned": {"value": None, "reason": "no image turned"}}, "turned", "precision").reason
    'no image turned'
    >>> measure({"fid": {"value": 1.5, "floor": 0.5}}, "fid").floor
    0.5
    """
    for key in path:
        if isinstance(tree, Mapping) and key in tree:
            tree = tree[key]
        elif isinstance(tree, Mapping) and tree.get("reason"):
            return Measure(reason=str(tree["reason"]))
        else:
            return Measure(reason=f"{path[-1]} was not computed")
    if not isinstance(tree, Mapping):
        tree = {"value": tree}
    value = finite(tree.get("value"))
    if value is None:
        return Measure(reason=str(tree.get("reason") or f"{path[-1] if path else 'value'} was not computed"))
    low, high, floor, n = (finite(tree.get(key)) for key in ("low", "high", "floor", "n"))
    return Measure(value, low, high, floor, None if n is None else int(n), at_floor=tree.get("at_floor") is True)


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


def class_shares(results: Mapping[str, Any], arm: str, attribute: str) -> dict[str, Measure]:
    """Share of each class of one attribute in one arm, in the judge's class order."""
    shares = results["arms"][arm].get("shares", {}).get(attribute, {})
    if not isinstance(shares, Mapping) or "reason" in shares:
        return {}
    order = results.get("judge", {}).get("classes", {}).get(attribute, [])
    names = dict.fromkeys([*(name for name in order if name in shares), *shares])
    return {name: measure(shares, name) for name in names}


def images_of(results: Mapping[str, Any], arm: str) -> int | None:
    """Number of images of an arm: the largest `n` that any number of it states."""
    counts = [finite(entry.get("n")) for entry in _mappings(results["arms"][arm])]
    known = [int(count) for count in counts if count is not None]
    return max(known, default=None)


def batches_of(results: Mapping[str, Any], arm: str) -> int | None:
    """Number of batches that the intervals of an arm were resampled from, as far as a number states it."""
    counts = [finite(entry.get("blocks")) for entry in _mappings(results["arms"][arm])]
    return max((int(count) for count in counts if count is not None), default=None)


def clip_score(arm: Mapping[str, Any]) -> Measure:
    """The CLIP score of an arm, or why it says nothing: most of its images are at its lower bound.

    >>> clip_score({"clip_score": {"value": 0.16, "n": 32, "at_zero": 31}}).reason
    '31 of 32 images at its lower bound of 0'
    """
    entry = measure(arm, "clip_score")
    at_zero = 0 if entry.value is None else arm["clip_score"].get("at_zero", 0)
    if entry.n and 2 * at_zero > entry.n:
        return Measure(reason=f"{at_zero} of {entry.n} images at its lower bound of 0")
    return entry


def time_ratio(results: Mapping[str, Any], arm: str) -> Measure:
    """Seconds an image of an arm over those of the vanilla arm."""
    seconds = measure(results, "cost", "seconds_per_image", arm)
    vanilla = measure(results, "cost", "seconds_per_image", "vanilla")
    if seconds.value is None or not vanilla.value:
        return Measure(reason=seconds.reason or vanilla.reason or "the vanilla arm took no time")
    return Measure(seconds.value / vanilla.value)


def _mappings(tree: Any) -> list[Mapping[str, Any]]:
    if not isinstance(tree, Mapping):
        return []
    return [tree, *(found for child in tree.values() for found in _mappings(child))]


def named_numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk a part of `results.json`, yielding each number's entry with its path.

    Example:
        >>> list(named_numbers({"guided": {"gender": {"gap": {"value": 0.5, "n": 4}}, "turned": {"n": 2}}}))
        [('guided/gender/gap', {'value': 0.5, 'n': 4}), ('guided/turned/n', {'value': 2})]
    """
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            yield path, {"value": value}
        elif "value" in value:
            yield path, dict(value)
        else:
            yield from named_numbers(value, path + "/")
