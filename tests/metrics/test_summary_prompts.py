"""Means over prompts are those of a naive loop, and a number that is null is left out and counted."""

from __future__ import annotations

import json

import pytest

from selfdebias.metrics.summary_prompts import over_prompts
from tests.report.example import example_results


@pytest.fixture
def rows():
    """Three jobs as they are read back from their files, whose keys are sorted."""
    made = {f"p{n}": example_results(n=n) for n in (16, 24, 32)}
    return json.loads(json.dumps(made, sort_keys=True))


def naive(rows, arm, *path):
    values = []
    for row in rows.values():
        entry = row["arms"][arm]
        for key in path:
            entry = entry[key]
        values.append(entry["value"])
    return {"value": pytest.approx(sum(values) / len(values)), "rows": len(values)}


def test_means_are_those_of_a_naive_loop(rows):
    means = over_prompts(rows)
    assert set(means) == {"vanilla", "guided"}
    for arm in means:
        for attribute in ("gender", "tone", "age"):
            for key in ("deviation_ratio", "fd_hard"):
                assert means[arm][attribute][key] == naive(rows, arm, attribute, key)
        share = naive(rows, arm, "shares", "gender", "man") | {"class": "man"}
        assert means[arm]["gender"]["share"] == share
        assert "share" not in means[arm]["tone"]  # five classes
    assert means["guided"]["kept_cosine"] == naive(rows, "guided", "kept_cosine")
    assert (means["vanilla"]["kept_cosine"]["value"], means["vanilla"]["kept_cosine"]["rows"]) == (None, 0)


def test_the_first_class_is_the_judges_not_the_alphabets(rows):
    for row in rows.values():
        row["judge"]["classes"]["gender"] = ["woman", "man"]
    share = over_prompts(rows)["guided"]["gender"]["share"]
    assert share == naive(rows, "guided", "shares", "gender", "woman") | {"class": "woman"}


def test_a_null_is_left_out_and_counted(rows):
    rows["p16"]["arms"]["guided"]["gender"]["fd_hard"] = {"value": None, "reason": "no image", "n": 0}
    entry = over_prompts(rows)["guided"]["gender"]["fd_hard"]
    assert entry == naive({name: rows[name] for name in ("p24", "p32")}, "guided", "gender", "fd_hard")
    for row in rows.values():
        row["arms"]["guided"]["kept_cosine"] = {"value": None, "reason": "no twin"}
    none = over_prompts(rows)["guided"]["kept_cosine"]
    assert (none["value"], none["rows"]) == (None, 0) and none["reason"]


def test_a_prompt_without_an_arm_is_left_out_of_its_means(rows):
    del rows["p16"]["arms"]["guided"]
    means = over_prompts(rows)
    assert means["guided"]["gender"]["deviation_ratio"]["rows"] == 2
    assert means["vanilla"]["gender"]["deviation_ratio"]["rows"] == 3
