"""Reads numbers out of `results.json`, one by one or as the lines of `results.csv`, and names what they were measured in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfdebias.metrics.distances import FRECHET
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.metric import INCEPTION, ReferenceMetric
from selfdebias.metrics.number import Number, finite, leaves, number_at
from selfdebias.metrics.verdicts import distances
from selfdebias.report.table import Table, to_csv
from selfdebias.report.wording import plain
from selfdebias.storage.hidden import hidden

Results = Mapping[str, Any]
COLUMNS = ("prompt", "arm", "metric", "value", "low", "high", "floor", "n", "reason")
MEAN = "over_prompts"  # stands as the prompt of means over prompts; names of rows have no underscore


def attributes_of(results: Results) -> list[str]:
    """Judged attributes of a job: those that the prompts name first, in their order, then any other.

    >>> arm = {"shares": {"gender": {}, "tone": {}}, "fid": {}}
    >>> attributes_of({"prompts": {"attributes": ["tone"]}, "arms": {"vanilla": arm}})
    ['tone', 'gender']
    """
    found = [name for arm in results["arms"].values() for name in arm.get("shares", {})]
    wanted = [name for name in results.get("prompts", {}).get("attributes", []) if name in found]
    return list(dict.fromkeys([*wanted, *found]))


def level_of(results: Results) -> float:
    """The level of the intervals and verdicts of a job, of one prompt or several; earlier results do not state it.

    >>> level_of({"level": 0.995}), level_of({"rows": {"cook": {"level": 0.9}}}), level_of({"arms": {}})
    (0.995, 0.9, 0.95)
    """
    one = next(iter(results.get("rows", {}).values()), results)
    return float(one.get("level", BlockBootstrap.level))


def level_in_words(results: Results) -> str:
    """The same in per cent.

    >>> level_in_words({"level": 0.995})
    '99.5%'
    """
    return f"{100 * level_of(results):g}%"


def over_vanilla(results: Results, key: str, arm: str) -> Number:
    """What an image of an arm costs, as a multiple of what one of vanilla's does; none where other numbers of processes drew them.

    Args:
        results: The contents of `results.json`.
        key: `seconds_per_image` or `rows_per_image`.
        arm: Its name.
    """
    here, vanilla = (number_at(results, "cost", key, it) for it in (arm, "vanilla"))
    if here.value is None or not vanilla.value:
        return Number(reason=here.reason or vanilla.reason or "the vanilla arm cost nothing")
    processes = results["cost"].get("processes", {})
    if processes.get(arm, 1) != processes.get("vanilla", 1):
        return Number(reason="it was drawn by another number of processes than vanilla")
    return Number(here.value / vanilla.value)


def arms_of(results: Results) -> list[str]:
    """Arms of a job: the one that all are compared with first, then guided, then the others (a file has them sorted).

    >>> arms_of({"arms": {"guided": {}, "random": {}, "vanilla": {}}})
    ['vanilla', 'guided', 'random']
    """
    first = [name for name in (results.get("baseline", "vanilla"), "guided") if name in results["arms"]]
    return list(dict.fromkeys([*first, *results["arms"]]))


def differences_from(results: Results, other: str) -> dict[tuple[str, str], Number]:
    """By arm and by what a verdict is about, the paired difference from the arm `other`; {} in earlier results."""
    arms, axes = results["arms"], [f"axis {a}" for a, _ in enumerate(results.get("modes", {}).get("axes", []))]
    names, compared = (
        [*attributes_of(results), *axes, "modes"],
        [it for it in arms_of(results) if "difference" in arms[it]],
    )
    pairs = [(arm, name) for arm in compared if other in arms[arm]["difference"] for name in names]
    return {it: found for it in pairs if (found := distances(arms, it[0], other, it[1])[2]).value is not None}


def class_shares(results: Results, arm: str, attribute: str) -> dict[str, Number]:
    """Share of each class of one attribute in one arm, in the judge's class order."""
    shares = results["arms"][arm].get("shares", {}).get(attribute, {})
    if not isinstance(shares, Mapping) or "reason" in shares:
        return {}
    order = results.get("judge", {}).get("classes", {}).get(attribute, [])
    names = dict.fromkeys([*(name for name in order if name in shares), *shares])
    return {name: number_at(shares, name) for name in names}


def images_of(results: Results, arm: str) -> int | None:
    """Number of images of an arm: the largest `n` that any number of it states."""
    counts = [Number.from_json(leaf).n for _, leaf in leaves(results["arms"][arm])]
    return max((count for count in counts if count is not None), default=None)


def batches_of(results: Results, arm: str) -> int | None:
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


def frechet_key(arm: Mapping[str, Any]) -> str:
    """The key of an arm's Frechet distance: `fid` of Inception's features, and of any features in results of before.

    Example:
        >>> frechet_key({"fid": {"value": 0.05}}), frechet_key({"frechet_distance": {"value": 0.05}}), frechet_key({})
        ('fid', 'frechet_distance', 'frechet_distance')
    """
    return "fid" if "fid" in arm and "frechet_distance" not in arm else "frechet_distance"


def label_of(results: Results) -> str:
    """Whose features distances are measured in, and their width; results of before say that of an extractor alone.

    Example:
        >>> label_of({"features": {"name": "emoji_clip", "dim": 64}, "arms": {}})
        'emoji_clip, 64-d'
        >>> label_of({"features": None, "arms": {"vanilla": {"kid": {"value": 0.1, "features": 64}}}})
        'encoder, 64-d'
    """
    features = results.get("features") or {}
    entries = [
        arm[key] for arm in results["arms"].values() for key in ("kid", "precision", frechet_key(arm)) if key in arm
    ]
    width = features.get("dim") or next((entry["features"] for entry in entries if "features" in entry), None)
    return plain(features.get("name") or "encoder") + (f", {width}-d" if width else "")


def title_of(metric: ReferenceMetric, results: Results) -> str:
    """Heading of a metric, with the features that it is measured by where they are not Inception's; FID is of those alone.

    Example:
        >>> from selfdebias.metrics.distances import KID
        >>> emoji, inception = ({"features": {"name": name, "dim": 64}, "arms": {}} for name in ("emoji_clip", INCEPTION))
        >>> title_of(FRECHET, emoji), title_of(FRECHET, inception), title_of(KID, inception)
        ('Frechet distance (emoji_clip, 64-d)', 'FID', 'KID')
    """
    if is_inception(results):
        return "FID" if metric == FRECHET else metric.title
    return f"{metric.title} ({label_of(results)})" if metric.labelled else metric.title


def key_of(metric: ReferenceMetric, arm: Mapping[str, Any]) -> str:
    """The key of a metric in an arm's results."""
    return frechet_key(arm) if metric == FRECHET else metric.key


def is_inception(results: Results) -> bool:
    """Whether distances are measured in the features of published FID figures."""
    return (results.get("features") or {}).get("name") == INCEPTION


def without_label(title: str) -> str:
    """A heading without the features beside it.

    Example:
        >>> without_label("KID (emoji_clip, 64-d)"), without_label("KID within modes")
        ('KID', 'KID within modes')
    """
    return title.partition(" (")[0]


def csv_of(results: Results) -> str:
    """Writes all numbers as CSV with a header; what there is no number for is empty.

    >>> print(csv_of({"arms": {"guided": {"fid": {"value": 1.5, "n": 8}, "kid": {"value": None, "reason": "one batch"}}}}))
    prompt,arm,metric,value,low,high,floor,n,reason
    ,guided,fid,1.5,,,,8,
    ,guided,kid,,,,,,one batch
    <BLANKLINE>
    """
    return to_csv(Table(COLUMNS, [*lines_of(results)]))


def lines_of(results: Results) -> Iterator[list[Any]]:
    """Yields the cells of each line, in the order of `COLUMNS`; None where there is nothing.

    Args:
        results: The contents of `results.json`. The prompt of a job of one prompt is "", the arm of what belongs to none
            is "". A metric's name is its path, joined by `/`, from the arm on (`gender/fd_hard`, `cost/seconds_per_image`) or
            from the top (`modes/silhouette`). Lists, such as the sizes of modes, are left out.
    """
    if "rows" not in results:
        yield from _lines(results, "")
        return
    for row in results.get("row_names", results["rows"]):
        yield from _lines(results["rows"][row], row)
    for arm in arms_of({"arms": results[MEAN]}):
        yield from _numbers(results[MEAN][arm], MEAN, arm)


def _lines(results: Results, row: str) -> Iterator[list[Any]]:
    cost = dict(results.get("cost", {}))
    by_arm = {key: cost.pop(key, {}) for key in ("seconds_per_image", "rows_per_image")}
    for arm in arms_of(results):
        yield from _numbers(results["arms"][arm], row, arm)
        yield from _numbers({"cost": {key: own[arm] for key, own in by_arm.items() if arm in own}}, row, arm)
    yield from _numbers({"modes": results.get("modes", {}), "cost": cost}, row, "")


def _numbers(tree: Mapping[str, Any], row: str, arm: str) -> Iterator[list[Any]]:
    for metric, leaf in leaves(tree):
        found = Number.from_json(leaf)
        if found.value is not None or found.reason:
            yield [row, arm, metric, *(getattr(found, key) for key in COLUMNS[3:8]), found.reason or None]


def flat_numbers(results: Results) -> dict[str, float | str]:
    """Every number of `results.json` under a flat name, of a job with a list of prompts the means over prompts.

    One that is null is left out, and its reason is kept.

    >>> flat_numbers({"arms": {"guided": {"fid": {"value": 1.5, "floor": 0.5}, "kid": {"value": None, "reason": "few"}}}})
    {'guided/fid': 1.5, 'guided/fid/floor': 0.5, 'guided/kid/reason': 'few'}
    """
    flat: dict[str, float | str] = {}
    for part in (MEAN,) if "rows" in results else ("arms", "modes", "cost"):
        for path, leaf in leaves({part: results.get(part, {})}):
            name = path.removeprefix("arms/")
            for fact, value in leaf.items() if isinstance(leaf, Mapping) else [("value", leaf)]:
                if fact == "reason":
                    flat[f"{name}/reason"] = plain(hidden(str(value)))
                elif finite(value) is not None:
                    flat[name if fact == "value" else f"{name}/{fact}"] = float(value)
    return flat
