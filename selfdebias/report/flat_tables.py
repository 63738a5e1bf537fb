"""The numbers of `results.json` as tables of plain numbers, for `results.csv` and for W&B."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfdebias.metrics.number import Number, finite, leaves, number_at
from selfdebias.report.grids import KEYS, spaces_of
from selfdebias.report.measures import arms_of
from selfdebias.report.table import Table, to_csv
from selfdebias.report.wording import plain
from selfdebias.storage.hidden import hidden

Results = Mapping[str, Any]
COLUMNS = ("prompt", "arm", "metric", "value", "low", "high", "floor", "n", "reason")
MEAN = "over_prompts"  # stands as the prompt of means over prompts; names of rows have no underscore


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
    seconds = cost.pop("seconds_per_image", {})
    for arm in arms_of(results):
        yield from _numbers(results["arms"][arm], row, arm)
        if arm in seconds:
            yield from _numbers({"cost": {"seconds_per_image": seconds[arm]}}, row, arm)
    yield from _numbers({"modes": results.get("modes", {}), "cost": cost}, row, "")


def _numbers(tree: Mapping[str, Any], row: str, arm: str) -> Iterator[list[Any]]:
    for metric, leaf in leaves(tree):
        found = Number.from_json(leaf)
        if found.value is not None or found.reason:
            yield [row, arm, metric, *(getattr(found, key) for key in COLUMNS[3:8]), found.reason or None]


def table_of_rows(results: Results) -> Table:
    """The numbers of each row under their flat names, None where a row lacks one.

    >>> rows = {"cook": {"arms": {"guided": {"fid": {"value": 2.0}}}}, "nurse": {"arms": {"guided": {}}}}
    >>> table_of_rows({"rows": rows}).rows
    [['cook', 2.0], ['nurse', None]]
    """
    flat = {row: flat_numbers(results["rows"][row]) for row in results.get("row_names", results["rows"])}
    names = list(dict.fromkeys(name for own in flat.values() for name in own if not name.endswith("/reason")))
    return Table(["prompt", *names], [[plain(row), *map(own.get, names)] for row, own in flat.items()])


def table_of_arms(results: Results) -> Table:
    """The value of each measure of each arm, None where an arm lacks it.

    >>> arms = {"vanilla": {"fid": {"value": 2.0, "floor": 1.0}}, "guided": {"kid": {"value": 0.5}}}
    >>> table = table_of_arms({"arms": arms})
    >>> table.columns, table.rows
    (['arm', 'fid', 'kid'], [['vanilla', 2.0, None], ['guided', None, 0.5]])
    """
    values: dict[str, dict[str, Any]] = {arm: {} for arm in arms_of(results)}
    for _, arm, metric, value, *_ in lines_of(results):
        if arm:
            values[arm][metric] = value
    names = list(dict.fromkeys(name for own in values.values() for name in own))
    return Table(["arm", *names], [[arm, *map(own.get, names)] for arm, own in values.items()])


def table_of_quality(results: Results) -> Table:
    """Quality by features; no rows in earlier results.

    Example:
        >>> kid = {"kid": {"value": 0.5, "floor": 0.1}}
        >>> said = {"judge": {"name": "J", "dim": 8}}
        >>> table = table_of_quality({"arms": {"guided": {"quality": {"judge": kid}}}, "spaces": said})
        >>> [dict(zip(table.columns, table.rows[0]))[name] for name in ("name", "kid", "kid/floor", "kept")]
        ['J', 0.5, 0.1, None]
    """
    facts = ("", "/low", "/high", "/floor")
    columns = ["prompt", "arm", "features", "name", "dim", *(key + fact for key in KEYS for fact in facts)]
    rows: list[list[Any]] = []
    for prompt, one in results["rows"].items() if "rows" in results else [("", results)]:
        for arm in arms_of(one):
            for name in spaces_of(one["arms"][arm].get("quality", {})):
                said, tree = one.get("spaces", {}).get(name, {}), one["arms"][arm]["quality"][name]
                found = [number_at(tree, key) for key in KEYS]
                numbers = [getattr(it, fact) for it in found for fact in ("value", "low", "high", "floor")]
                rows.append([plain(prompt), plain(arm), name, plain(said.get("name", "")), said.get("dim"), *numbers])
    return Table(columns, rows)


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
