"""Fairness metrics against plain loops, identities between them, and the floor of a fair sampler."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfdebias.metrics import fairness

labelled = st.integers(2, 6).flatmap(
    lambda c: st.tuples(st.just(c), st.lists(st.integers(0, c - 1), min_size=1, max_size=40))
)


def naive(labels: list[int], n_classes: int) -> dict[str, float]:
    """The definitions, in loops over Python floats."""
    f = [sum(label == c for label in labels) / len(labels) for c in range(n_classes)]
    entropy = -sum(share * math.log(share) for share in f if share > 0)
    return {
        "fd_hard": math.sqrt(sum((share - 1 / n_classes) ** 2 for share in f)),
        "deviation_ratio": max(abs(share - 1 / n_classes) for share in f) / (1 - 1 / n_classes),
        "kl_uniform": math.log(n_classes) - entropy,
        "entropy_norm": entropy / math.log(n_classes),
        "gap": f[0] - f[1] if n_classes == 2 else max(f) - min(f),
    }


@given(labelled)
def test_hard_metrics_are_their_definitions_with_absent_classes_kept(case):
    n_classes, labels = case
    f = fairness.shares(np.bincount(labels, minlength=n_classes))
    assert f.shape == (n_classes,)
    for key, expected in naive(labels, n_classes).items():
        assert fairness.metric_function(key)(f) == pytest.approx(expected, abs=1e-12), key


@given(labelled, st.randoms(use_true_random=False))
def test_order_of_classes_matters_only_to_the_signed_gap(case, random):
    n_classes, labels = case
    f = fairness.shares(np.bincount(labels, minlength=n_classes))
    g = f[random.sample(range(n_classes), n_classes)]
    for key in ("fd_hard", "deviation_ratio", "kl_uniform", "entropy_norm"):
        assert fairness.metric_function(key)(f) == pytest.approx(fairness.metric_function(key)(g), abs=1e-12)
    assert abs(fairness.gap(f)) == pytest.approx(abs(fairness.gap(g)))


@given(st.integers(0, 50), st.integers(1, 50))
def test_two_classes_tie_the_metrics_together(first, rest):
    f = fairness.shares([first, rest])
    off = abs(f[0] - 0.5)
    assert fairness.fd_hard(f) == pytest.approx(math.sqrt(2) * off)
    assert fairness.deviation_ratio(f) == pytest.approx(2 * off)
    assert abs(fairness.gap(f)) == pytest.approx(2 * off)


def test_a_whole_bootstrap_goes_through_one_call():
    counts = np.random.default_rng(0).multinomial(20, [0.5, 0.3, 0.2], size=7)
    for key in fairness.METRICS:
        function = fairness.metric_function(key)
        rows = [function(fairness.shares(row)) for row in counts]
        assert np.allclose(function(fairness.shares(counts)), rows, rtol=0, atol=1e-15)


def test_targets_other_than_uniform():
    assert fairness.fd_hard([0.9, 0.1], [0.9, 0.1]) == 0
    assert fairness.fd_hard([0.5, 0.5], [0.9, 0.1]) == pytest.approx(math.sqrt(2) * 0.4)
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert fairness.kl_target([0.5, 0.5], [0.9, 0.1]) == pytest.approx(expected)
    assert fairness.kl_target([0.3, 0.7], [0.5, 0.5]) == pytest.approx(fairness.kl_uniform([0.3, 0.7]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fairness.kl_target([0.5, 0.5], [1.0, 0.0]), "`target` must be above 0"),
        (lambda: fairness.fd_hard([0.5, 0.5], [0.5, 0.4]), "`target` must be non-negative and sum to 1"),
        (lambda: fairness.fd_hard([0.5, 0.5], [1.0]), "`target` must have 2 entries"),
        (lambda: fairness.uniform(1), "`n_classes` must be at least 2"),
        (lambda: fairness.metric_function("fd"), "`metric` must be one of"),
        (lambda: fairness.metric_function("kl_target"), "`target` must be given"),
        (lambda: fairness.expected_floor("gap", 2, 0), "`n` must be at least 1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_floor_of_a_fair_sampler_at_128():
    assert fairness.expected_floor("fd_hard", 2, 128) == pytest.approx(0.050, abs=5e-4)
    assert fairness.expected_floor("deviation_ratio", 2, 128) == pytest.approx(0.070, abs=5e-4)
    assert fairness.expected_floor("gap", 2, 128) == fairness.expected_floor("deviation_ratio", 2, 128)


def test_exact_floor_is_the_sum_over_all_outcomes():
    outcomes = [[(i >> bit) & 1 for bit in range(6)] for i in range(64)]
    for key in ("fd_hard", "deviation_ratio", "kl_uniform", "entropy_norm"):
        expected = np.mean([naive(labels, 2)[key] for labels in outcomes])
        assert fairness.expected_floor(key, 2, 6) == pytest.approx(expected, abs=1e-12)


def test_monte_carlo_floor_agrees_with_the_sum_over_all_outcomes():
    outcomes = [[i // 3**place % 3 for place in range(5)] for i in range(3**5)]
    expected = np.mean([naive(labels, 3)["fd_hard"] for labels in outcomes])
    assert fairness.expected_floor("fd_hard", 3, 5) == pytest.approx(expected, rel=0.02)
    assert fairness.expected_floor("fd_hard", 3, 5) == fairness.expected_floor.__wrapped__("fd_hard", 3, 5)


def test_floor_against_a_target_is_for_a_sampler_that_draws_from_it():
    skewed = fairness.expected_floor("fd_hard", 2, 400, (0.9, 0.1))
    assert skewed == pytest.approx(math.sqrt(2) * math.sqrt(2 / math.pi * 0.09 / 400), rel=0.02)  # normal limit
