"""One number of `results.json`: a value with what belongs to it, or null with the reason. Never NaN."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

NO_INTERVAL = "no interval: resampled sets hold copies of images, which move it"
ONE_BATCH = "no interval: one batch"
ONE_RUN = "no interval: the batches of this run depend on each other"


@dataclass(frozen=True)
class Number:
    """A measured value, or why there is none.

    Attributes:
        value: finite; None where it could not be computed.
        low: lower end of the interval, same unit as `value`; None where fewer than two blocks leave nothing to resample.
        high: upper end of the interval, or None likewise.
        floor: what the value comes to by sampling alone, for instance a fair independent sampler's `fd_hard`.
        n: number of images behind it.
        blocks: number of blocks that the interval was resampled from.
        at_floor: of a distance: within sampling noise of its best value, so `high` alone says something; None for what is
            no distance, and without an interval.
        reason: why there is no value, or no interval; "" otherwise.
        more: further facts of this number, by name; as they stand in `results.json`.
        nulls: names of the fields above that are stated as null, where others are left out.

    Raises:
        ValueError: if the value is not finite; say why with `missing`.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    n: int | None = None
    blocks: int | None = None
    at_floor: bool | None = None
    reason: str = ""
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)
    nulls: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"`value` must be finite, got {self.value}.")

    @classmethod
    def unbounded(cls, value: float | None, blocks: int) -> Number:
        """Return a value whose interval was sought in vain.

        Example:
            >>> Number.unbounded(0.5, 1).to_json()
            {'value': 0.5, 'low': None, 'high': None, 'blocks': 1, 'reason': 'no interval: one batch'}
        """
        why = {0: "no interval: no batch has an image", 1: ONE_BATCH}.get(
            blocks, "no interval: no resample has a value"
        )
        return cls(value, blocks=blocks, reason=why, nulls=frozenset({"low", "high"}))

    @classmethod
    def from_json(cls, entry: Any) -> Number:
        """Read an entry of `results.json`, a number, or a bare value; what is no finite number counts as None.

        Example:
            >>> Number.from_json({"value": 1.5, "n": 8}).n, Number.from_json(1.5).value, Number.from_json([1, 2]).value
            (8, 1.5, None)
        """
        if isinstance(entry, Number):
            return entry
        if not isinstance(entry, Mapping):
            entry = {"value": entry}
        numbers = {name: entry[name] for name in FIELDS[:6] if finite(entry.get(name)) is not None}
        return cls(
            **numbers,
            at_floor=entry.get("at_floor"),
            reason=str(entry.get("reason") or ""),
            more={name: fact for name, fact in entry.items() if name not in FIELDS},
            nulls=frozenset(name for name in FIELDS[1:] if name in entry and entry[name] is None),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entry: the value, then each field that has one or is stated as null, then what is more.

        Example:
            >>> Number(0.5, 0.4, 0.6, n=128, blocks=4).to_json()
            {'value': 0.5, 'low': 0.4, 'high': 0.6, 'n': 128, 'blocks': 4}
        """
        stated = {name: getattr(self, name) for name in FIELDS[1:]}
        known = {name: it for name, it in stated.items() if it not in (None, "") or name in self.nulls}
        return {"value": self.value, **known, **self.more}

    def stating(self, **facts: Any) -> Number:
        """Return the number with further facts; a field that is None is stated as null.

        Example:
            >>> Number(0.5).stating(n=3, at_floor=None, features=64).to_json()
            {'value': 0.5, 'n': 3, 'at_floor': None, 'features': 64}
        """
        own = {name: fact for name, fact in facts.items() if name in FIELDS}
        more = {name: fact for name, fact in facts.items() if name not in FIELDS}
        nulls = (self.nulls - own.keys()) | {name for name, fact in own.items() if fact is None}
        return replace(self, **own, more={**self.more, **more}, nulls=frozenset(nulls))

    def within(self, least: float, most: float) -> Number:
        """Return the number with its interval cut to the range of the statistic."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=min(max(self.low, least), most), high=max(min(self.high, most), least))


FIELDS = tuple(it.name for it in fields(Number))[:8]  # value to reason


def missing(reason: str, **facts: Any) -> Number:
    """Return a number that cannot be computed.

    Example:
        >>> missing("no image switched", n=0).to_json()
        {'value': None, 'n': 0, 'reason': 'no image switched'}
    """
    return Number(reason=reason).stating(**facts)


def all_missing(keys: Iterable[str], reason: str, **facts: Any) -> dict[str, Number]:
    """Return the same null for each key."""
    return {key: missing(reason, **facts) for key in keys}


def finite(entry: Any) -> float | None:
    """The entry as a float, or None where it is no finite number.

    >>> finite(0.5), finite(float("nan")), finite("0.5"), finite(True)
    (0.5, None, None, None)
    """
    if isinstance(entry, bool) or not isinstance(entry, (int, float)) or not math.isfinite(entry):
        return None
    return float(entry)


def json_of(tree: Any) -> Any:
    """Return a tree of mappings and lists with each `Number` as its entry.

    Example:
        >>> json_of({"guided": {"kid": Number(0.5), "n": 3}})
        {'guided': {'kid': {'value': 0.5}, 'n': 3}}
    """
    if isinstance(tree, Number):
        return tree.to_json()
    if isinstance(tree, Mapping):
        return {key: json_of(branch) for key, branch in tree.items()}
    return [json_of(branch) for branch in tree] if isinstance(tree, list) else tree


def of_one_run(arms: Mapping[str, Any], dependence: Mapping[str, str]) -> dict[str, Any]:
    """Return the arms' numbers, in which it is the reason of a missing interval where batches depend on each other.

    Args:
        arms: numbers by arm; their `difference` is by the other arm.
        dependence: what the images of each arm depend on, as `Guidance.dependence` has it.

    Example:
        >>> gap = Number.unbounded(0.5, 1)
        >>> of_one_run({"guided": {"axes": [gap]}}, {"guided": "run"})["guided"]["axes"][0].reason
        'no interval: the batches of this run depend on each other'
    """
    runs = {arm for arm, on in dependence.items() if on == "run"}
    return {arm: _of_one_run(tree, runs, arm in runs) for arm, tree in arms.items()}


def _of_one_run(tree: Any, runs: Collection[str], within: bool) -> Any:
    """A tree of numbers, inside of what is measured on such a run (`within`) or not."""
    if isinstance(tree, Number):
        return replace(tree, reason=ONE_RUN) if within and tree.reason == ONE_BATCH else tree
    if isinstance(tree, Mapping):
        return {key: _of_one_run(branch, runs, within or key in runs) for key, branch in tree.items()}
    return [_of_one_run(branch, runs, within) for branch in tree] if isinstance(tree, list) else tree


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk a part of `results.json`: each number's entry, and what else is no mapping, with its path; of a list each by its place.

    Example:
        >>> list(leaves({"guided": {"gender": {"gap": {"value": 0.5, "n": 4}}, "turned": {"n": 2}}}))
        [('guided/gender/gap', {'value': 0.5, 'n': 4}), ('guided/turned/n', 2)]
        >>> list(leaves({"axes": [{"fd": {"value": 0.5}}, {"fd": {"value": 0.1}}], "target": [0.5, 0.5]}))
        [('axes/0/fd', {'value': 0.5}), ('axes/1/fd', {'value': 0.1}), ('target', [0.5, 0.5])]
    """
    for key, branch in tree.items():
        if isinstance(branch, list) and branch and all(isinstance(it, Mapping) for it in branch):
            yield from leaves({str(place): it for place, it in enumerate(branch)}, f"{prefix}{key}/")
        elif isinstance(branch, Mapping) and "value" not in branch:
            yield from leaves(branch, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", branch


def number_at(tree: Any, *path: str) -> Number:
    """Read the number at a path; a null keeps the reason that it, or a parent of it, gives.

    Args:
        tree: a part of `results.json`.
        path: keys from there to the number's entry.

    Returns:
        the number; `value` is None, with a reason, where there is none.

    Example:
        >>> number_at({"turned": {"value": None, "reason": "no image switched"}}, "turned", "precision").reason
        'no image switched'
        >>> number_at({"fid": {"value": 1.5, "floor": 0.5}}, "fid").floor
        0.5
    """
    for key in path:
        if not isinstance(tree, Mapping) or key not in tree:
            reason = tree.get("reason") if isinstance(tree, Mapping) else ""
            return Number(reason=str(reason or f"{path[-1]} was not computed"))
        tree = tree[key]
    found = Number.from_json(tree)
    if found.value is not None or found.reason:
        return found
    return replace(found, reason=f"{path[-1] if path else 'value'} was not computed")
