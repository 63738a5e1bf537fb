"""Fairer is said only where intervals are apart."""

from __future__ import annotations

import pytest

from selfdebias.metrics.comparison import compare, verdicts
from selfdebias.metrics.number import Number, missing


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 0.19, "fairer"), (0.0, 0.2, "not told apart"), (0.25, 0.5, "not told apart"), (0.31, 0.5, "less fair")],
)
def test_intervals_that_overlap_or_touch_tell_nothing(low, high, expected):
    assert compare(Number(0.2, low, high), Number(0.25, 0.2, 0.3)) == expected


def test_no_interval_no_verdict():
    assert compare(Number.unbounded(0.2, 1), Number(0.25, 0.2, 0.3)) is None
    assert compare(missing("no image"), Number(0.25, 0.2, 0.3)) is None


def test_every_arm_is_compared_with_the_baseline_by_attribute_and_by_modes():
    def arm(low, high):
        return {"gender": {"fd_hard": Number(low, low, high)}, "mode_fd": Number(low, low, high)}

    arms = {"vanilla": arm(0.3, 0.4), "guided": arm(0.0, 0.1), "random": arm(0.29, 0.41)}
    assert verdicts(arms, "vanilla", ["gender"]) == {
        "guided": {"gender": "fairer", "modes": "fairer"},
        "random": {"gender": "not told apart", "modes": "not told apart"},
    }
    assert verdicts(arms, "peer", ["gender"]) == {}


def test_each_axis_has_a_verdict_of_its_own():
    def arm(*bounds):
        axes = [{"fd": Number(low, low, high)} for low, high in bounds]
        return {
            "gender": {"fd_hard": Number(0.1, 0.1, 0.2)},
            "mode_fd": missing("axes"),
            "axes": axes,
        }

    arms = {"vanilla": arm((0.3, 0.4), (0.1, 0.15)), "guided": arm((0.0, 0.1), (0.2, 0.3))}
    expected = {"gender": "not told apart", "axis 0": "fairer", "axis 1": "less fair"}
    assert verdicts(arms, "vanilla", ["gender"]) == {"guided": expected}
