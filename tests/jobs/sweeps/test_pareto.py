"""The plot: the front is what no point beats in both numbers, and what has no interval has no bar."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from selfdebias.jobs.sweeps.columns import Row, rows_of
from selfdebias.jobs.sweeps.finished import read_source
from selfdebias.jobs.sweeps.pareto import WORDS, Point, front_of, points_of, tradeoff_figure
from selfdebias.jobs.sweeps.pooling import Group, grouped
from selfdebias.metrics.number import Number
from tests.jobs.sweeps.world import write_sweep


def points(count: int, seed: int = 0) -> list[Point]:
    drawn = np.random.default_rng(seed).random((count, 2))
    return [Point(f"job {i}", Number(float(x)), Number(float(y), y - 0.02, y + 0.02)) for i, (x, y) in enumerate(drawn)]


@pytest.mark.parametrize("higher", [True, False])
def test_the_front_is_what_a_naive_comparison_of_all_pairs_leaves(higher):
    every, sign = points(40), -1 if higher else 1

    def beats(one, other):
        pairs = [(sign * one.quality.value, sign * other.quality.value), (one.fairness.value, other.fairness.value)]
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    naive = {point.label for point in every if not any(beats(other, point) for other in every)}
    assert {point.label for point in front_of(every, higher)} == naive


@pytest.mark.parametrize("quality", WORDS)
def test_axes_say_which_direction_is_better(quality):
    axes = tradeoff_figure(points(3), quality, "gender.fd_hard").axes[0]
    assert ("left" if quality == "kid" else "right") in axes.get_xlabel()
    assert "lower is fairer" in axes.get_ylabel() and "gender fd_hard" in axes.get_ylabel()


def test_a_point_without_an_interval_has_no_bar():
    with_bar, without = (Point("", Number(0.5), Number(0.1, low, high)) for low, high in ((0.0, 0.2), (None, None)))
    bars = [len(tradeoff_figure([point], "kid", "mode_fd").axes[0].collections) for point in (with_bar, without)]
    assert bars == [1, 0]


def test_labels_cover_no_other_label():
    figure = tradeoff_figure(points(12, seed=3), "kid", "mode_fd")
    FigureCanvasAgg(figure).draw()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 12
    assert not [1 for i, box in enumerate(boxes) for other in boxes[:i] if box.overlaps(other)]


def test_vanilla_is_marked_at_what_it_has_by_definition(tmp_path):
    sweep = write_sweep(tmp_path, {3.0: 0.6, 6.0: 0.5}, seeds=(1,))
    rows = rows_of(grouped(read_source(sweep.path).jobs, []))
    found = points_of(rows, "kept_cosine", "gender.fd_hard")
    assert [(point.label, point.vanilla) for point in found] == [
        ("vanilla", True),
        ("strength=3.0", False),
        ("strength=6.0", False),
    ]
    assert found[0].quality.value == 1.0 and found[0].fairness.value == rows[0].measure("gender.fd_hard").value
    assert points_of(rows, "clip_score", "gender.fd_hard") == []  # the example has none


def test_jobs_without_numbers_are_no_points():
    assert points_of([Row(Group({}, [], None), "")], "kid", "mode_fd") == []


def test_an_estimate_below_zero_is_in_the_plot():
    own = [Point("a", Number(20.0), Number(-0.04)), Point("b", Number(21.0), Number(-0.02))]
    low, high = tradeoff_figure(own, "psnr", "kid").axes[0].get_ylim()
    assert low < -0.04 < -0.02 < high
    above = [Point("a", Number(20.0), Number(0.0)), Point("b", Number(21.0), Number(0.4))]
    assert tradeoff_figure(above, "psnr", "kid").axes[0].get_ylim()[0] > -0.02
