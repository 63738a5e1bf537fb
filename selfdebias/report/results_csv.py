"""The numbers of `results.json` as one tidy table: a line for each prompt, arm and metric."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from selfdebias.report.measures import arms_of, finite, named_numbers

COLUMNS = ("prompt", "arm", "metric", "value", "low", "high", "floor", "n", "reason")
MEAN = "over_prompts"  # stands as the prompt of means over prompts; names of rows have no underscore


def csv_of(results: Mapping[str, Any]) -> str:
    """Writes the table as CSV with a header; what there is no number for is empty.

    >>> print(csv_of({"arms": {"guided": {"fid": {"value": 1.5, "n": 8}, "kid": {"value": None, "reason": "one batch"}}}}))
    prompt,arm,metric,value,low,high,floor,n,reason
    ,guided,fid,1.5,,,,8,
    ,guided,kid,,,,,,one batch
    <BLANKLINE>
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(lines_of(results))
    return file.getvalue()


def lines_of(results: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yields the cells of each line, in the order of `COLUMNS`; None where there is nothing.

    Args:
        results: The contents of `results.json`. The prompt of a job without rows is "", the arm of what belongs to none
            is "". A metric's name is its path, joined by `/`, from the arm on (`gender/fd_hard`, `cost/seconds_per_image`) or
            from the top (`modes/silhouette`). Lists, such as the sizes of modes, are left out.
    """
    if "rows" not in results:
        yield from _lines(results, "")
        return
    for row in results.get("row_names", results["rows"]):
        yield from _lines(results["rows"][row], row)
    for arm in arms_of({"arms": results[MEAN]}):
        yield from _numbers(results[MEAN][arm], MEAN, arm, "")


def _lines(results: Mapping[str, Any], row: str) -> Iterator[list[Any]]:
    cost = dict(results.get("cost", {}))
    seconds = cost.pop("seconds_per_image", {})
    for arm in arms_of(results):
        yield from _numbers(results["arms"][arm], row, arm, "")
        if arm in seconds:
            yield from _numbers({"seconds_per_image": seconds[arm]}, row, arm, "cost/")
    yield from _numbers({"modes": results.get("modes", {}), "cost": cost}, row, "", "")


def _numbers(tree: Mapping[str, Any], row: str, arm: str, prefix: str) -> Iterator[list[Any]]:
    for metric, entry in named_numbers(tree, prefix):
        if finite(entry["value"]) is not None or entry.get("reason"):
            numbers = [entry.get(key) if finite(entry.get(key)) is not None else None for key in COLUMNS[3:8]]
            yield [row, arm, metric, *numbers, entry.get("reason")]
