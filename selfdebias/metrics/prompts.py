"""Means over the prompts of a list, from the results of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from selfdebias.config.prompt_texts import CROSS
from selfdebias.metrics import fairness
from selfdebias.metrics.entries import Entry, measured, missing

MEASURES = ("deviation_ratio", "fd_hard")
REPEATS = 4000  # draws of a fair sampler


def over_prompts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Average the numbers of each arm over prompts, every prompt with the same weight.

    A prompt whose number is null is left out of that mean; `rows` says how many are in it. The prompts are those that were
    asked for, not a sample, so the bounds hold the error of each prompt's own images alone.

    Args:
        rows: the contents of `results.json` of each prompt.

    Returns:
        By arm: by attribute the entries `deviation_ratio` and `fd_hard`, and for an attribute with two classes `share`, of its
        first class, which is named in it; and `kept_cosine` for arms that have one. Distances have the `floor` of their mean,
        what a perfectly fair independent sampler of as many images comes to; 95% of its means stay below `floor_high`.

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
            means[arm]["kept_cosine"] = _mean(_entries(rows, arm, "kept_cosine"))
    return means


def _attribute(rows: Mapping[str, Mapping[str, Any]], arm: str, attribute: str) -> dict[str, Entry]:
    entries = {
        key: _with_upper_floor(key, _entries(rows, arm, attribute, key), _classes(rows, attribute)) for key in MEASURES
    }
    classes = next(row["judge"]["classes"].get(attribute, ()) for row in rows.values())
    if len(classes) == 2:
        share = _mean(_entries(rows, arm, "shares", attribute, classes[0]))
        entries["share"] = {**share, "class": classes[0]}
    return entries


def _classes(rows: Mapping[str, Mapping[str, Any]], attribute: str) -> int:
    """Number of classes of an attribute, or of an intersection; 0 where no row says it."""
    known = [row["judge"]["classes"] for row in rows.values() if "classes" in row.get("judge", {})]
    sizes = [len(known[0].get(part, ())) for part in attribute.split(CROSS)] if known else [0]
    return int(np.prod(sizes))


def _with_upper_floor(key: str, entries: list[Entry], n_classes: int) -> Entry:
    """The mean of entries; with a floor, also what 95% of fair samplers' means stay below, and the images behind each."""
    mean, known = _mean(entries), [entry for entry in entries if entry.get("value") is not None]
    counts = tuple(int(entry["n"]) for entry in known if entry.get("n"))
    if "floor" not in mean or n_classes < 2 or len(counts) != len(known):
        return mean
    images = {"floor_n": [min(counts), max(counts)]}
    return mean | {"floor_high": fair_mean_quantile(key, n_classes, tuple(sorted(counts)))} | images


@lru_cache(maxsize=256)
def fair_mean_quantile(
    metric: str, n_classes: int, counts: tuple[int, ...], level: float = 0.95, seed: int = 0
) -> float:
    """Value that the mean of a metric over prompts stays below with probability `level` under a perfectly fair sampler.

    Its expected value, the floor, does not depend on how many prompts there are; how far means scatter around it does.

    Args:
        metric: a key of `MEASURES`.
        n_classes: C, at least 2.
        counts: independent images of each prompt.
        level: in (0, 1).
        seed: of the draws.

    Example:
        >>> one, many = (fair_mean_quantile("deviation_ratio", 2, (384,) * prompts) for prompts in (1, 17))
        >>> round(one, 2), round(many, 2)  # expected are 0.041 of both
        (0.1, 0.05)
    """
    generator, function = np.random.default_rng(seed), fairness.metric_function(metric)
    drawn = [function(generator.multinomial(n, fairness.uniform(n_classes), size=REPEATS) / n) for n in counts]
    return float(np.quantile(np.mean(drawn, axis=0), level))


def _entries(rows: Mapping[str, Mapping[str, Any]], arm: str, *path: str) -> list[Entry]:
    return [_at(row["arms"].get(arm), path) for row in rows.values()]


def _at(tree: Any, path: Iterable[str]) -> Entry:
    """The entry at a path, {} where there is none."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return dict(tree) if isinstance(tree, Mapping) else {}


def _mean(entries: list[Entry]) -> Entry:
    known = [entry for entry in entries if entry.get("value") is not None]
    if not known:
        return missing("no prompt has this number", rows=0)
    floors = [entry["floor"] for entry in known if entry.get("floor") is not None]
    floor = {"floor": float(np.mean(floors))} if len(floors) == len(known) else {}
    value = float(np.mean([entry["value"] for entry in known]))
    return measured(value, rows=len(known)) | _bounds(value, known) | floor


def _bounds(value: float, entries: list[Entry]) -> Entry:
    """Bound a mean of independent numbers by their own bounds, which may be lopsided: their distances add as squares.

    References:
        Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008.
    """
    if any(entry.get(side) is None for entry in entries for side in ("low", "high")):
        return {}
    below, above = (
        np.sqrt(sum((entry["value"] - entry[side]) ** 2 for entry in entries)) / len(entries)
        for side in ("low", "high")
    )
    floors = [entry["at_floor"] for entry in entries if "at_floor" in entry]
    at_floor = {"at_floor": all(floors)} if floors else {}
    return {"low": float(value - below), "high": float(value + above)} | at_floor
