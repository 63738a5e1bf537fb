"""Turned images: precision within the new mode against a loop, and what each null says."""

from __future__ import annotations

import numpy as np
import pytest

from selfdebias.metrics.arms import Placed
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.metric import GaussianKernel, MetricSuite
from selfdebias.metrics.preservation import switched_distance, switched_quality
from selfdebias.metrics.within_modes import covered_in_mode
from tests.metrics.references import cmmd, kid, knn_precision

BOOTSTRAP, SUITE = BlockBootstrap(repeats=100), MetricSuite()
MEASURES = ("precision", "vanilla_precision", "precision_ratio", "kid", "vanilla_kid")


def placed(seed: int, modes: list[int], spread: float = 1.0) -> Placed:
    generator = np.random.default_rng(seed)
    return Placed(generator.normal(size=(len(modes), 2)) * spread + 20.0 * np.array(modes)[:, None], np.array(modes))


def case(spread: float = 1.0) -> tuple[Placed, Placed, Placed]:
    """Reference, vanilla (mostly mode 0) and an arm that turned 10 images to mode 1 and 3 to mode 0."""
    reference = placed(0, [0] * 30 + [1] * 12)
    vanilla = placed(1, [0] * 25 + [1] * 15)
    return reference, vanilla, placed(2, [1] * 10 + [0] * 15 + [0] * 3 + [1] * 12, spread)


def test_precision_is_weighted_by_the_modes_that_images_turned_to():
    reference, vanilla, arm = case(spread=1.6)
    result = switched_quality(reference, vanilla, arm, 2, np.arange(40) // 8, BOOTSTRAP, SUITE)
    turned = arm.modes != vanilla.modes
    assert result["n"] == 13
    assert result["share"].value == 13 / 40
    counts = {0: 3, 1: 10}
    of_turned = {m: knn_precision(reference.inside(m), arm.e[turned & (arm.modes == m)]) for m in counts}
    of_vanilla = {m: knn_precision(reference.inside(m), vanilla.inside(m)) for m in counts}
    precision, own = (sum(counts[m] * p[m] for m in counts) / 13 for p in (of_turned, of_vanilla))
    assert result["precision"].value == pytest.approx(precision)
    assert result["vanilla_precision"].value == pytest.approx(own)
    assert result["precision_ratio"].value == pytest.approx(precision / own)
    kids = [kid(reference.inside(m), arm.e[turned & (arm.modes == m)]) * counts[m] / 13 for m in counts]
    assert result["kid"].value == pytest.approx(sum(kids))
    assert result["precision_ratio"].low <= precision / own <= result["precision_ratio"].high
    assert result["precision_ratio"].blocks == 5


def test_damage_lowers_the_ratio_and_a_new_mix_alone_does_not():
    reference, vanilla, arm = case()
    fair = switched_quality(reference, vanilla, arm, 2, np.arange(40), BOOTSTRAP, SUITE)
    reference, vanilla, arm = case(spread=6.0)
    damaged = switched_quality(reference, vanilla, arm, 2, np.arange(40), BOOTSTRAP, SUITE)
    assert fair["precision_ratio"].value > 0.85
    assert damaged["precision_ratio"].value < 0.5


def test_a_kept_image_is_held_to_its_own_mode_only():
    reference = Placed(np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]), np.array([0, 0, 0, 1, 1, 1]))
    probe = Placed(np.array([[0.5], [0.5], [0.5]]), np.array([0, 1, 2]))
    assert np.array_equal(covered_in_mode(reference, probe, 3, k=1), [1.0, 0.0, np.nan], equal_nan=True)


def test_no_image_turned_is_said():
    reference, vanilla, _ = case()
    result = switched_quality(reference, vanilla, vanilla, 2, np.zeros(40), BOOTSTRAP, SUITE)
    assert result["n"] == 0
    assert {result[name].reason for name in MEASURES} == {"no image switched"}


def test_modes_too_small_to_measure_are_left_out_and_counted():
    reference, vanilla, arm = case()
    small = Placed(reference.e[:33], reference.modes[:33])  # 30 of mode 0, 3 of mode 1
    result = switched_quality(small, vanilla, arm, 2, np.arange(40), BOOTSTRAP, SUITE)
    assert result["n"] == 13
    assert result["precision"].n == 3
    assert result["precision_ratio"].reason == "fewer than 5 switched images are behind it: 3"
    assert result["kid"].n == 13
    smaller = Placed(reference.e[:1], reference.modes[:1])
    result = switched_quality(smaller, vanilla, arm, 2, np.arange(40), BOOTSTRAP, SUITE)
    assert all(result[name].value is None and "target mode" in result[name].reason for name in MEASURES)


def test_ratio_over_a_vanilla_precision_of_zero_is_null():
    reference, vanilla, arm = case()
    lost = Placed(vanilla.e + 1000, vanilla.modes)
    result = switched_quality(reference, lost, arm, 2, np.arange(40), BOOTSTRAP, SUITE)
    assert result["vanilla_precision"].value == 0
    assert result["precision_ratio"].value is None
    assert result["precision_ratio"].reason


def test_turned_distance_takes_any_kernel_and_holds_vanilla_to_the_same_modes():
    reference, vanilla, arm = case(spread=1.6)
    found = switched_distance("cmmd", GaussianKernel(), reference, vanilla, arm, 2)
    turned, counts = arm.modes != vanilla.modes, {0: 3, 1: 10}
    moved = {m: cmmd(reference.inside(m), arm.e[turned & (arm.modes == m)]) for m in counts}
    own = {m: cmmd(reference.inside(m), vanilla.inside(m)) for m in counts}
    assert found["cmmd"].value == pytest.approx(sum(counts[m] * moved[m] for m in counts) / 13)
    assert found["vanilla_cmmd"].value == pytest.approx(sum(counts[m] * own[m] for m in counts) / 13)
    assert found["cmmd"].n == 13
    assert switched_distance("cmmd", GaussianKernel(), reference, vanilla, vanilla, 2)["cmmd"].value is None
