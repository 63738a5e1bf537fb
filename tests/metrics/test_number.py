"""One number: what it states, what it leaves out, and that `results.json` is read as it was written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from selfdebias.metrics.number import Number, leaves, missing, number_at
from tests.metrics.test_summary import arm, interleaved, summary


def entries(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict) and "value" in tree:
        yield tree
    for branch in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from entries(branch)


def test_each_entry_of_results_is_read_and_written_back_unchanged():
    few = summary([arm("vanilla", 4), arm("guided", 16, seed=1)])
    many = summary([interleaved(arm("vanilla", 8)), interleaved(arm("guided", 16, seed=1))])
    found = [*entries(few), *entries(many)]
    assert len(found) > 200
    for entry in found:
        assert Number.from_json(entry).to_json() == entry


def test_a_value_that_is_not_finite_is_refused():
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="`value` must be finite"):
            Number(value)


def test_a_null_of_a_file_stays_a_null_and_what_is_no_number_is_none():
    assert Number.from_json({"value": 1, "floor": None, "low": "0.1", "n": True}) == Number(
        1, nulls=frozenset({"floor"})
    )
    assert Number.from_json({"value": math.nan, "reason": "few"}) == missing("few")
    assert Number(0.0, low=0.0, n=0).to_json() == {"value": 0.0, "low": 0.0, "n": 0}
    assert Number(1.0).stating(floor=None).stating(floor=2.0).to_json() == {"value": 1.0, "floor": 2.0}


def test_what_is_not_there_says_why():
    assert number_at({"kid": None}, "kid").reason == "kid was not computed"
    assert number_at({"arms": 3}, "arms", "kid").reason == "kid was not computed"
    assert number_at({"quality": {"reason": "no modes"}}, "quality", "kid", "value").reason == "no modes"
    assert number_at({"ari": 0.5}, "ari") == Number(0.5)


def test_leaves_are_entries_and_what_is_no_mapping():
    tree = {"a": {"b": {"value": 1.0, "more": {"deep": 2}}, "runs": [1, 2]}, "empty": {}}
    assert list(leaves(tree, "x/")) == [("x/a/b", tree["a"]["b"]), ("x/a/runs", [1, 2])]
