"""Metrics against the reference: the one that CONTRIBUTING.md shows is measured, stated and shown from its two files."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import selfdebias.metrics
from selfdebias.jobs.sweeps.columns import Row, number_columns
from selfdebias.jobs.sweeps.pooling import Group
from selfdebias.metrics import quality
from selfdebias.metrics.distances import CMMD, FRECHET, KID
from selfdebias.report.job_table import markdown_table
from selfdebias.report.measures import csv_of, flat_numbers
from selfdebias.report.wording import Notes
from tests.metrics.test_summary import arm, summary
from tests.report.as_text import render_table

SUITE = selfdebias.metrics.MetricSuite()
TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
SHOWN = dict(re.findall(r"```python\n# selfdebias/metrics/(\w+)\.py\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Both files, as the page has them."""
    (tmp_path / "authenticity.py").write_text(SHOWN["authenticity"])
    monkeypatch.setattr(selfdebias.metrics, "__path__", [*selfdebias.metrics.__path__, str(tmp_path)])
    listed = dict(vars(quality))
    exec(SHOWN["quality"], listed)
    monkeypatch.setattr(quality, "METRICS", listed["METRICS"])
    yield
    sys.modules.pop("selfdebias.metrics.authenticity")
    del selfdebias.metrics.authenticity


def test_the_page_lists_what_is_registered():
    assert sorted(SHOWN) == ["authenticity", "quality"]
    names = re.search(r"METRICS.*= \((.*), AUTHENTICITY\)", SHOWN["quality"])
    assert names is not None
    assert {getattr(quality, name) for name in names[1].split(", ")} <= {*quality.METRICS}


def test_the_new_metric_is_measured_with_its_floor_and_shown_everywhere(added):
    results = summary([arm("vanilla", 8), arm("guided", 16, seed=1)])
    guided, vanilla = (results["arms"][name]["authenticity"] for name in ("guided", "vanilla"))
    assert (
        0 < guided["low"] < guided["value"] <= guided["high"] <= 1
        and guided["floor"] == vanilla["value"]
        and guided["reference_n"] == 60
    )
    assert guided["floor_of"] == "the vanilla arm against the same reference"
    assert f",guided,authenticity,{guided['value']}" in csv_of(results)
    assert flat_numbers(results)["guided/authenticity"] == guided["value"]
    for text in (render_table(results), markdown_table(results)):
        assert "authenticity" in text and "than that is from its own; 1 is best." in " ".join(text.split())
    row = Row(Group({}, [], results), "guided")
    titles = [column.title for column in number_columns([row], "mode_fd", Notes(), intervals=True)]
    assert titles[-1] == "authenticity" and titles[-2].startswith("KID")  # of a sweep
    few = summary([arm("vanilla", 4)], reference=arm("reference", 1, n=1, first_seed=0))["arms"]["vanilla"][
        "authenticity"
    ]
    assert few["value"] is None and few["reason"] == "at least two reference images are needed, and images of the arm"


def test_each_metric_says_what_it_means():
    assert len({metric.key for metric in quality.METRICS}) == len(quality.METRICS)
    for metric in quality.METRICS:
        assert metric.meaning.endswith("."), metric.key
        assert metric.better in ("lower", "higher"), metric.key


@pytest.mark.parametrize("metric", [FRECHET, KID, CMMD, quality.PRECISION, quality.RECALL], ids=lambda it: it.key)
def test_the_better_value_is_that_of_the_reference_itself(metric):
    same = arm("guided", 16, n=40)
    number = metric.measure(same, same, SUITE, None)
    other = metric.measure(moved(same), same, SUITE, None)
    assert number.value is not None and other.value is not None
    assert (number.value > other.value) == (metric.better == "higher")


def moved(data):
    """Images that are nowhere near."""
    e = np.roll(data.e, 1, axis=1) * [1, 1, -1]
    return data.__class__(**{**data.__dict__, "e": e})
