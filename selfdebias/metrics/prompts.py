"""Means over the prompts of a list, from the results of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdebias.config.prompts import CROSS
from selfdebias.metrics import fairness
from selfdebias.metrics.comparison import GUIDED, VANILLA
from selfdebias.metrics.differences import difference
from selfdebias.metrics.intervals import BlockBootstrap, share_interval
from selfdebias.metrics.number import Number, json_of, missing, number_at
from selfdebias.metrics.shares import mean_draws

Array = NDArray[np.float64]
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
        what a perfectly fair independent sampler of as many images comes to; 95% of its means stay below `floor_high`, and a
        mean that does so too is `at_floor`.
        Each arm but vanilla has `difference`, by other arm (vanilla, guided) and attribute what `paired_over_prompts` says.

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
    level = next((row["level"] for row in rows.values() if "level" in row), BlockBootstrap.level)
    means: dict[str, dict[str, Any]] = {}
    for arm in arms:
        means[arm] = {name: _attribute(rows, arm, name) for name in attributes}
        if any("kept_cosine" in row["arms"].get(arm, {}) for row in rows.values()):
            means[arm]["kept_cosine"] = _mean(_numbers(rows, arm, "kept_cosine"))
        others = [other for other in (VANILLA, GUIDED) if other in arms and arm not in (VANILLA, other)]
        apart = {it: {name: paired_over_prompts(rows, arm, it, name, level) for name in attributes} for it in others}
        means[arm] |= {"difference": apart} if apart else {}
    return json_of(means)


def paired_over_prompts(
    rows: Mapping[str, Mapping[str, Any]],
    arm: str,
    other: str,
    attribute: str,
    level: float = BlockBootstrap.level,
) -> dict[str, Number]:
    """Hold an arm against another one prompt by prompt; the prompts count as a sample, so intervals hold the error of their choice.

    Args:
        rows: the contents of `results.json` of each prompt.
        arm: one arm.
        other: what is subtracted.
        attribute: judged.
        level: of the intervals, in (0, 1).

    Returns:
        of each of `MEASURES` the mean difference over the prompts that have it in both arms, with an interval from resampling the
        prompts; and `probability_of_improvement`: that of two runs of one prompt that of the arm has the smaller `fd_hard`, ties
        counted half. It is the mean over prompts of the share of pairs of runs, with Wilson's interval over prompts.

    References:
        Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, arXiv 2108.13264.

    Example:
        >>> def row(*fd):
        ...     return {"arms": {arm: {"gender": {"fd_hard": {"value": it}}} for arm, it in zip(("a", "b"), fd)}}
        >>> found = paired_over_prompts({"cook": row(0.1, 0.3), "nurse": row(0.2, 0.2)}, "a", "b", "gender")
        >>> round(found["fd_hard"].value, 2), found["probability_of_improvement"].value
        (-0.1, 0.75)
    """
    found = {key: _paired_mean(rows, (arm, other), (attribute, key), BlockBootstrap(level=level)) for key in MEASURES}
    runs = [(_runs(row, arm, attribute), _runs(row, other, attribute)) for row in rows.values()]
    smaller = [np.sign(np.subtract.outer(y, x)) for x, y in runs]
    better = [float(it.mean() + 1) / 2 for it in smaller if it.size]
    chance = share_interval([[it, 1] for it in better], level) if better else missing("no prompt has this number")
    return found | {"probability_of_improvement": _over(chance, len(better))}


def _paired_mean(
    rows: Mapping[str, Mapping[str, Any]], arms: tuple[str, str], path: tuple[str, ...], resampling: BlockBootstrap
) -> Number:
    pairs = zip(*(_numbers(rows, arm, *path) for arm in arms), strict=True)
    known = np.array([[a.value, b.value] for a, b in pairs if a.value is not None and b.value is not None])
    if not len(known):
        return missing("no prompt has this number", rows=0)
    every, prompts = np.ones(len(known), dtype=bool), np.arange(len(known))
    sides = (mean_draws(values, every, prompts, resampling) for values in known.T)
    return _over(difference(sides, len(known), resampling), len(known))


def _over(number: Number, prompts: int) -> Number:
    reason = "no interval: one prompt" if prompts == 1 else number.reason
    return replace(number, blocks=None, reason=reason).stating(rows=prompts)


def _runs(row: Mapping[str, Any], arm: str, attribute: str) -> Array:
    """The `fd_hard` of each pooled run, (R,); that of all images where no run is known."""
    tree = row["arms"].get(arm, {})
    own = tree.get("by_run", {}).get(attribute, {}).get("fd_hard") or [number_at(tree, attribute, "fd_hard").value]
    return np.array([value for value in own if value is not None], dtype=np.float64)


def _attribute(rows: Mapping[str, Mapping[str, Any]], arm: str, attribute: str) -> dict[str, Number]:
    n_classes = _classes(rows, attribute)
    means = {key: _with_upper_floor(key, _numbers(rows, arm, attribute, key), n_classes) for key in MEASURES}
    classes = next(row["judge"]["classes"].get(attribute, ()) for row in rows.values())
    if len(classes) == 2:
        share = _mean(_numbers(rows, arm, "shares", attribute, classes[0]))
        means["share"] = share.stating(**{"class": classes[0]})
    return means


def _classes(rows: Mapping[str, Mapping[str, Any]], attribute: str) -> int:
    """Number of classes of an attribute, or of an intersection; 0 where no row says it."""
    known = [row["judge"]["classes"] for row in rows.values() if "classes" in row.get("judge", {})]
    sizes = [len(known[0].get(part, ())) for part in attribute.split(CROSS)] if known else [0]
    return int(np.prod(sizes))


def _with_upper_floor(key: str, numbers: list[Number], n_classes: int) -> Number:
    """The mean; with a floor, also what 95% of fair samplers' means stay below, whether it does too, and the images behind each."""
    mean, known = _mean(numbers), [number for number in numbers if number.value is not None]
    counts = sorted(number.n for number in known if number.n)
    if mean.floor is None or n_classes < 2 or len(counts) != len(known):
        return mean
    high = fair_mean_quantile(key, n_classes, tuple(counts))
    return mean.stating(
        at_floor=mean.value is not None and mean.value <= high, floor_high=high, floor_n=[counts[0], counts[-1]]
    )


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


def _numbers(rows: Mapping[str, Mapping[str, Any]], arm: str, *path: str) -> list[Number]:
    return [number_at(row["arms"].get(arm), *path) for row in rows.values()]


def _mean(numbers: list[Number]) -> Number:
    known = [number for number in numbers if number.value is not None]
    if not known:
        return missing("no prompt has this number", rows=0)
    floors = [number.floor for number in known if number.floor is not None]
    floor = float(np.mean(floors)) if len(floors) == len(known) else None
    value = float(np.mean([number.value for number in known]))
    return replace(_bounded(value, known), floor=floor).stating(rows=len(known))


def _bounded(value: float, numbers: list[Number]) -> Number:
    """Bound a mean of independent numbers by their own bounds, which may be lopsided: their distances add as squares.

    References:
        Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008.
    """
    bounds = np.array([[it.value, it.low, it.high] for it in numbers], dtype=np.float64)  # NaN where there is none
    if np.isnan(bounds).any():
        return Number(value)
    below, above = (
        np.sqrt(sum((own - side) ** 2 for own, side in zip(bounds[:, 0], bounds[:, column], strict=True)))
        / len(numbers)
        for column in (1, 2)
    )
    return Number(value, float(value - below), float(value + above))
