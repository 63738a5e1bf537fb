"""Shares corrected by the judge's error against the exact inverse, a grid search, and properties that must hold."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdebias.metrics.corrected import confusion_rates, corrected_shares


def distribution(rng, n_classes, concentration=1.0):
    return rng.dirichlet(np.full(n_classes, concentration))


def judge_of(rng, n_classes, accuracy):
    """Rates of a judge that is right at least so often."""
    wrong = np.stack([distribution(rng, n_classes) for _ in range(n_classes)])
    return accuracy * np.eye(n_classes) + (1 - accuracy) * wrong


def likelihood(f, rates, p):
    return float(np.sum(f * np.log(np.maximum(p @ rates, 1e-300))))


def test_rates_are_shares_of_the_true_class():
    counts = [[[8, 2], [1, 9]], [[1, 0], [30, 10]]]
    assert np.allclose(confusion_rates(counts), [[[0.8, 0.2], [0.1, 0.9]], [[1, 0], [0.75, 0.25]]])


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_a_judge_without_error_changes_nothing(seed, n_classes):
    f = distribution(np.random.default_rng(seed), n_classes)
    assert np.allclose(corrected_shares(f, np.eye(n_classes)), f, atol=1e-12)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.floats(0.3, 0.95))
def test_the_order_of_classes_does_not_matter(seed, n_classes, accuracy):
    rng = np.random.default_rng(seed)
    f, rates, order = distribution(rng, n_classes, 0.3), judge_of(rng, n_classes, accuracy), rng.permutation(n_classes)
    turned = corrected_shares(f[order], rates[np.ix_(order, order)])
    assert np.allclose(turned, corrected_shares(f, rates)[order], atol=1e-3)
    assert likelihood(f[order], rates[np.ix_(order, order)], turned) == pytest.approx(
        likelihood(f, rates, corrected_shares(f, rates)), abs=1e-8
    )


@given(st.integers(0, 10_000), st.integers(2, 6), st.floats(0.3, 1.0))
def test_true_shares_come_back_from_what_they_are_judged_as(seed, n_classes, accuracy):
    rng = np.random.default_rng(seed)
    p, rates = distribution(rng, n_classes), judge_of(rng, n_classes, accuracy)
    assert np.allclose(corrected_shares(p @ rates, rates), p, atol=1e-8)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.floats(0.2, 1.0))
def test_the_result_is_a_distribution_and_none_nearby_is_likelier(seed, n_classes, accuracy):
    rng = np.random.default_rng(seed)
    f, rates = distribution(rng, n_classes, 0.2), judge_of(rng, n_classes, accuracy)
    p = corrected_shares(f, rates)
    assert p.min() >= 0 and p.sum() == pytest.approx(1)
    for other in [*np.eye(n_classes), *(distribution(rng, n_classes) for _ in range(20))]:
        for share in (1e-3, 0.1, 1.0):
            assert likelihood(f, rates, (1 - share) * p + share * other) <= likelihood(f, rates, p) + 1e-8


@pytest.mark.parametrize("accuracy", [0.3, 0.6, 0.9])
def test_three_classes_agree_with_a_grid_search(accuracy):
    rng, steps = np.random.default_rng(3), 400
    grid = np.array([(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]) / steps
    on_edge = 0
    for _ in range(12):
        f, rates = distribution(rng, 3, 0.5), judge_of(rng, 3, accuracy)
        log_likelihoods = np.log(np.maximum(grid @ rates, 1e-300)) @ f
        best, p = grid[log_likelihoods.argmax()], corrected_shares(f, rates)
        assert likelihood(f, rates, p) >= log_likelihoods.max() - 1e-9
        assert np.abs(p - best).max() < 0.02
        on_edge += p.min() < 1e-4
    assert on_edge >= 3  # where the exact inverse is no distribution


def test_a_class_that_the_clipped_inverse_leaves_out_may_come_back():
    """Starting from zeros, expectation-maximisation would never leave them."""
    rng = np.random.default_rng(0)
    for _ in range(2000):
        f, rates = distribution(rng, 4, 0.3), judge_of(rng, 4, 0.2)
        clipped = np.clip(f @ np.linalg.inv(rates), 0, None)
        p = corrected_shares(f, rates)
        if (p[clipped == 0] > 0.01).any():
            return
    pytest.fail("no such case was met")


def test_two_classes_are_clipped():
    rates = np.array([[0.9, 0.1], [0.3, 0.7]])
    f = np.array([[0.95, 0.05], [0.6, 0.4], [0.1, 0.9]])
    assert np.allclose(corrected_shares(f, rates), [[1, 0], [0.5, 0.5], [0, 1]])
    for row, p in zip(f, corrected_shares(f, rates), strict=True):
        grid = [likelihood(row, rates, np.array([x, 1 - x])) for x in np.linspace(0, 1, 1001)]
        assert likelihood(row, rates, p) >= max(grid) - 1e-9


@pytest.mark.parametrize("n_classes", [2, 4])
def test_rows_are_independent_and_each_may_have_its_own_matrix(n_classes):
    rng = np.random.default_rng(1)
    f = np.stack([distribution(rng, n_classes, 0.3) for _ in range(6)]).reshape(3, 2, n_classes)
    rates = np.stack([judge_of(rng, n_classes, 0.5) for _ in range(3)])[:, None]
    together = corrected_shares(f, rates)
    assert together.shape == f.shape
    for i in range(3):
        for j in range(2):
            assert np.allclose(together[i, j], corrected_shares(f[i, j], rates[i, 0]), atol=1e-10)
    assert corrected_shares(f[0, 0], rates[:, 0]).shape == (3, n_classes)


def test_shares_of_no_image_stay_unknown():
    p = corrected_shares([[np.nan] * 3, [0.9, 0.1, 0.0]], np.eye(3) * 0.7 + 0.1)
    assert np.isnan(p[0]).all() and p[1].sum() == pytest.approx(1)


def test_a_bootstrap_goes_through_one_call():
    rng = np.random.default_rng(2)
    rates = np.stack([judge_of(rng, 9, 0.7) for _ in range(1000)])
    f = rng.multinomial(128, distribution(rng, 9, 0.5), size=1000) / 128
    start = time.perf_counter()
    corrected_shares(f, rates)
    assert time.perf_counter() - start < 5  # 0.1 s, as a rule


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: confusion_rates([[3, 1], [0, 0]]), "an image of each class, got none in row 1"),
        (lambda: confusion_rates([[3, -1], [0, 1]]), "`counts` must be at least 0, got -1"),
        (lambda: confusion_rates([3, 1]), r"`counts` must have shape \(..., C, C\)"),
        (lambda: corrected_shares([0.5, 0.5], [[0.7, 0.3], [0.7, 0.3]]), "`rates` must tell the classes apart"),
        (lambda: corrected_shares([0.5, 0.5, 0], np.full((3, 3), 1 / 3)), "`rates` must tell the classes apart"),
        (lambda: corrected_shares([0.5, 0.4], np.eye(2)), "`f` must have rows of at least 0 that sum to 1"),
        (lambda: corrected_shares([1.5, -0.5], np.eye(2)), "`f` must have rows of at least 0 that sum to 1"),
        (lambda: corrected_shares([np.nan, 1], np.eye(2)), "`f` must have rows of at least 0 that sum to 1"),
        (lambda: corrected_shares([0.5, 0.5], [[9, 1], [2, 8]]), "`rates` must have rows of at least 0 that sum to 1"),
        (lambda: corrected_shares([0.5, 0.5], np.eye(3)), r"`rates` must have shape \(..., C, C\)"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
