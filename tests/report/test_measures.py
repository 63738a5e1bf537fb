"""Each number of `results.json` is one line of `results.csv`, and each line is such a number."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from selfdebias.metrics.prompts import over_prompts
from selfdebias.report.measures import COLUMNS, csv_of
from tests.report.example import example_results


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def count_entries(tree) -> int:
    """Entries `{"value": ...}`, and numbers outside of them, at any depth; lists are none."""
    if isinstance(tree, dict) and "value" in tree:
        return int(not isinstance(tree["value"], list))
    if isinstance(tree, dict):
        return sum(count_entries(child) for child in tree.values())
    return int(isinstance(tree, int | float))


def at(results, line: dict[str, str]):
    """The entry that a line is about, found by its names."""
    if line["prompt"] == "over_prompts":
        tree = results["over_prompts"]
    else:
        results = results["rows"][line["prompt"]] if line["prompt"] else results
        tree = results["arms"] if line["arm"] else results
    if line["metric"] in ("cost/seconds_per_image", "cost/rows_per_image"):
        found = results["cost"][line["metric"].split("/")[1]][line["arm"]]
        return found if isinstance(found, dict) else {"value": found}
    for name in [*([line["arm"]] if line["arm"] else []), *line["metric"].split("/")]:
        tree = tree[name]
    return tree if isinstance(tree, dict) else {"value": tree}


def rows_results() -> dict:
    rows = {"farmer": example_results(n=16), "office-worker": example_results(("vanilla",), n=24)}
    return {"rows": rows, "row_names": ["office-worker", "farmer"], "over_prompts": over_prompts(rows)}


@pytest.mark.parametrize("make", [example_results, rows_results])
def test_every_line_is_an_entry_of_the_results_with_the_same_numbers(make):
    results = json.loads(json.dumps(make()))
    lines = read(csv_of(results))
    for line in lines:
        entry = at(results, line)
        for name in ("value", "low", "high", "floor", "n"):
            wanted = entry.get(name)
            assert line[name] == "" if wanted is None else math.isclose(float(line[name]), wanted, rel_tol=0), line
        assert line["reason"] == (entry.get("reason") or "")


@pytest.mark.parametrize("make", [example_results, rows_results])
def test_no_entry_is_left_out_and_none_is_there_twice(make):
    results = make()
    lines = read(csv_of(results))
    parts = [
        part for it in results.get("rows", {"": results}).values() for part in (it["arms"], it["modes"], it["cost"])
    ]
    assert len(lines) == sum(map(count_entries, [*parts, results.get("over_prompts", {})]))
    names = [(line["prompt"], line["arm"], line["metric"]) for line in lines]
    assert len({*names}) == len(names)


def test_rows_are_in_their_order_and_numbers_without_a_value_say_why():
    lines = read(csv_of(rows_results()))
    assert [*dict.fromkeys(line["prompt"] for line in lines)] == ["office-worker", "farmer", "over_prompts"]
    assert [*lines[0]] == list(COLUMNS)
    (kept,) = [it for it in lines if (it["prompt"], it["arm"], it["metric"]) == ("farmer", "vanilla", "kept_cosine")]
    assert kept["value"] == "" and kept["reason"] == "vanilla images have no other vanilla twin"
