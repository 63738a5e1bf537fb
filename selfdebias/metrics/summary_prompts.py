"""Means over the prompts of a list, from the results of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from selfdebias.metrics.entries import Entry, measured, missing

MEASURES = ("deviation_ratio", "fd_hard")


def over_prompts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Average the numbers of each arm over prompts, every prompt with the same weight.

    A prompt whose number is null is left out of that mean; `rows` says how many are in it.

    Args:
        rows: the contents of `results.json` of each prompt.

    Returns:
        By arm: by attribute the entries `deviation_ratio` and `fd_hard`, and for an attribute with two classes `share`, of its
        first class, which is named in it; and `kept_cosine` for arms that have one.

    Example:
        >>> def row(ratio):
        ...     man = {"shares": {"gender": {"man": {"value": 0.5 + ratio / 2}, "woman": {"value": 0.5 - ratio / 2}}}}
        ...     return {
        ...         "prompts": {"attributes": ["gender"]}, "judge": {"classes": {"gender": ["man", "woman"]}},
        ...         "arms": {"vanilla": {"gender": {"deviation_ratio": {"value": ratio}}, **man}},
        ...     }
        >>> means = over_prompts({"cook": row(0.5), "nurse": row(1.0)})["vanilla"]["gender"]
        >>> means["deviation_ratio"], means["share"]
        ({'value': 0.75, 'rows': 2}, {'value': 0.875, 'rows': 2, 'class': 'man'})
    """
    arms = dict.fromkeys(arm for row in rows.values() for arm in row["arms"])
    attributes = dict.fromkeys(name for row in rows.values() for name in row["prompts"]["attributes"])
    means: dict[str, dict[str, Any]] = {}
    for arm in arms:
        means[arm] = {name: _attribute(rows, arm, name) for name in attributes}
        if any("kept_cosine" in row["arms"].get(arm, {}) for row in rows.values()):
            means[arm]["kept_cosine"] = _mean(_values(rows, arm, "kept_cosine"))
    return means


def _attribute(rows: Mapping[str, Mapping[str, Any]], arm: str, attribute: str) -> dict[str, Entry]:
    entries = {key: _mean(_values(rows, arm, attribute, key)) for key in MEASURES}
    classes = next(row["judge"]["classes"][attribute] for row in rows.values())
    if len(classes) == 2:
        share = _mean(_values(rows, arm, "shares", attribute, classes[0]))
        entries["share"] = {**share, "class": classes[0]}
    return entries


def _values(rows: Mapping[str, Mapping[str, Any]], arm: str, *path: str) -> list[Any]:
    return [_at(row["arms"].get(arm), path) for row in rows.values()]


def _at(tree: Any, path: Iterable[str]) -> Any:
    """The number at a path of entries, None where there is none."""
    for key in (*path, "value"):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _mean(values: list[Any]) -> Entry:
    known = [value for value in values if value is not None]
    if not known:
        return missing("no prompt has this number", rows=0)
    return measured(float(np.mean(known)), rows=len(known))
