"""Distances from a target: one interval for all metrics of two classes, and the boundary, where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from selfdebias.metrics import fairness
from selfdebias.metrics.intervals import BlockBootstrap, share_interval
from selfdebias.metrics.number import Number
from selfdebias.metrics.shares import class_interval, resampled_shares

BOOTSTRAP = BlockBootstrap(500)


def bound(sums, key, target=None):
    n_classes = sums.shape[1]
    best, metric = fairness.best_shares(key, n_classes, target), fairness.metric_function(key, target)
    return class_interval(sums, metric, best, BOOTSTRAP, *fairness.range_of(key, n_classes, target))


def counts(f, blocks=20, size=32, seed=0):
    return np.random.default_rng(seed).multinomial(size, f, size=blocks).astype(float)


def test_two_classes_have_one_interval_in_all_metrics():
    sums = counts([0.75, 0.25])
    first = share_interval(np.stack([sums[:, 0], sums.sum(1)], 1))
    gap, fd, ratio = (bound(sums, key) for key in ("gap", "fd_hard", "deviation_ratio"))
    assert [gap.low, gap.high] == pytest.approx([2 * first.low - 1, 2 * first.high - 1])
    assert [fd.low, fd.high] == pytest.approx([np.sqrt(2) * (first.low - 0.5), np.sqrt(2) * (first.high - 0.5)])
    assert [ratio.low, ratio.high] == pytest.approx([gap.low, gap.high])
    assert gap.at_floor is None and fd.at_floor is False
    entropy = bound(sums, "entropy_norm")
    assert entropy.low == pytest.approx(float(fairness.entropy_norm([first.high, 1 - first.high])))


@pytest.mark.parametrize(
    ("key", "target", "most"),
    [
        ("fd_hard", None, np.sqrt(2 / 3)),
        ("fd_hard", [0.5, 0.3, 0.2], np.sqrt(0.5**2 + 0.3**2 + 0.8**2)),
        ("kl_target", [0.5, 0.3, 0.2], np.log(5)),
    ],
)
def test_a_bound_is_not_beyond_what_a_distance_can_be(key, target, most):
    """Two blocks that differ: Student's t alone would reach far beyond."""
    interval = bound(np.array([[30.0, 1, 1], [10.0, 12, 10]]), key, target)
    assert interval.high == pytest.approx(most)


def test_a_fair_sampler_of_two_classes_is_at_the_floor():
    sums = counts([0.5, 0.5])
    fd, entropy = bound(sums, "fd_hard"), bound(sums, "entropy_norm")
    assert fd.at_floor and fd.low == 0 < fd.high
    assert entropy.at_floor and entropy.high == 1 > entropy.low
    assert bound(sums, "fd_hard", (0.9, 0.1)).at_floor is False
    assert bound(counts([0.9, 0.1]), "fd_hard", (0.9, 0.1)).at_floor


@pytest.mark.parametrize("key", ["fd_hard", "kl_uniform", "deviation_ratio", "gap", "entropy_norm"])
def test_of_many_classes_the_boundary_is_told_from_the_rest(key):
    fair = [bound(counts(np.full(5, 0.2), seed=seed), key) for seed in range(100)]
    assert np.mean([it.at_floor for it in fair]) >= 0.85
    far = [bound(counts([0.4, 0.3, 0.1, 0.1, 0.1], seed=seed), key) for seed in range(100)]
    assert not any(it.at_floor for it in far)
    truth = float(fairness.metric_function(key)(np.array([0.4, 0.3, 0.1, 0.1, 0.1])))
    assert np.mean([it.low <= truth <= it.high for it in far]) >= 0.85


def test_resampled_shares_are_distributions_and_scatter_even_where_all_batches_agree():
    resampled = resampled_shares(np.tile([8.0, 8.0, 16.0], (4, 1)), BOOTSTRAP)
    assert np.allclose(resampled.sum(1), 1)
    error = np.sqrt(4 * 0.25) / 128  # four counts, each a whole number
    assert resampled.std(0) == pytest.approx([error] * 3, rel=0.25)


def test_one_block_has_no_bounds_and_no_images_neither():
    alone = bound(counts([0.5, 0.5], blocks=1), "fd_hard")
    assert alone == Number.unbounded(alone.value, 1)
    unsure = np.array([[9.0, 7.0], [0.0, 0.0]])  # the judge is sure of no image of the second batch
    assert bound(unsure, "gap") == Number.unbounded(0.125, 1)
    assert bound(np.zeros((4, 3)), "fd_hard").low is None
