"""A sweep's numbers as CSV: one line for each row, arm and number, with the swept values as columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfdebias.jobs.sweeps.rows import Group, Row, arms_in
from selfdebias.report.measures import finite

FACTS = ("value", "low", "high", "floor", "n")
LEFT_OUT = ("by_run",)  # lists by job, which the pooled numbers hold


def tidy_csv(rows: Sequence[Row]) -> str:
    """All numbers of all arms.

    Columns: the swept keys; `jobs`, the config hashes; `prompt`, the name of the prompt where a job has several, "" for the
    mean over them; `arm`; `metric`, its place in results.json, as in `results.csv`; `value`, `low` and `high` of the 95%
    interval, `floor`, `n`.
    An empty cell is a number that there is not.

    Args:
        rows: Rows of the table.
    """
    groups = list({id(row.group): row.group for row in rows if row.group.results is not None}.values())
    keys = list(dict.fromkeys(key for group in groups for key in group.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "jobs", "prompt", "arm", "metric", *FACTS])
    for group in groups:
        hashes = " ".join(job.folder.name for job in group.measured if job.folder)
        own = [group.values.get(key, "") for key in keys]
        for prompt, arm, metric, entry in _entries(group):
            writer.writerow([*own, hashes, prompt, arm, metric, *(_cell(entry.get(fact)) for fact in FACTS)])
    return text.getvalue()


def entries_in(tree: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (path, entry) of each number of an arm, in the order of their paths.

    Example:
        >>> list(entries_in({"gender": {"fd_hard": {"value": 0.1, "n": 8}}, "kid": {"value": None}}))
        [('gender/fd_hard', {'value': 0.1, 'n': 8}), ('kid', {'value': None})]
    """
    if not isinstance(tree, Mapping):
        return
    if "value" in tree:
        yield path, tree
    for key in sorted(tree):
        if key not in LEFT_OUT:
            yield from entries_in(tree[key], f"{path}/{key}" if path else key)


def _entries(group: Group) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    results = group.results or {}
    several = "rows" in results
    for arm in arms_in(results):
        for metric, entry in entries_in(results["over_prompts"].get(arm) if several else results["arms"].get(arm)):
            yield "", arm, metric, entry
    for prompt, one in results["rows"].items() if several else ():
        for arm, tree in one["arms"].items():
            for metric, entry in entries_in(tree):
                yield prompt, arm, metric, entry


def _cell(value: Any) -> str:
    number = finite(value)
    return "" if number is None else repr(value)
