"""Quality in the results: each number with floor, sizes and dimension, whole and within modes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfdebias.metrics import MetricSuite
from selfdebias.metrics.comparison import Sets
from selfdebias.metrics.distances import frechet_distance
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.quality import against_reference, clip_score_of, keys_for, knn_recall
from selfdebias.metrics.within_modes import distances_within_modes
from tests.metrics.references import cmmd, kid, knn_precision
from tests.metrics.test_summary import arm

RESAMPLING, SUITE = BlockBootstrap(50), MetricSuite()
KEYS = keys_for({})
VANILLA, GUIDED = arm("vanilla", 8), arm("guided", 16, seed=1)
REFERENCE = replace(arm("reference", 20, n=60, seed=9, first_seed=0), blocks=np.arange(60))
HALVES = REFERENCE.rows(np.arange(0, 60, 2)), REFERENCE.rows(np.arange(1, 60, 2))


def sets(arm, vanilla, suite=SUITE):
    return Sets(arm, vanilla, None, suite, RESAMPLING, n_modes=2)


def test_each_measure_is_its_pure_function_with_vanilla_as_the_floor():
    found = against_reference(sets(GUIDED, VANILLA), REFERENCE)
    pure = {
        "frechet_distance": frechet_distance,
        "kid": kid,
        "cmmd": cmmd,
        "precision": lambda x, y: knn_precision(y, x),
        "recall": lambda x, y: knn_recall(y, x),
    }
    for key, metric in pure.items():
        assert found[key].value == pytest.approx(metric(GUIDED.e, REFERENCE.e)), key
        assert found[key].floor == pytest.approx(metric(VANILLA.e, REFERENCE.e)), key
    assert found.keys() == set(KEYS)


def test_all_entries_have_one_structure():
    for vanilla, floor_of in ((VANILLA, "the vanilla arm"), (None, "half of the reference")):
        found = against_reference(sets(GUIDED, vanilla), REFERENCE)
        found |= distances_within_modes(sets(GUIDED, vanilla), REFERENCE)
        for key, entry in found.items():
            assert {"value", "floor", "n", "reference_n", "features", "floor_of"} <= entry.to_json().keys(), key
            assert entry.more["floor_of"].startswith(floor_of)
            assert (entry.n, entry.more["reference_n"], entry.more["features"]) == (32, 60, 3)
            if entry.low is not None:
                assert entry.low <= entry.value <= entry.high, key
            else:
                assert entry.reason.startswith("no interval: resampled sets hold copies"), key


def test_the_floor_of_vanilla_is_one_half_of_the_reference_against_the_other():
    found = against_reference(sets(VANILLA, None), REFERENCE)
    assert found["kid"].floor == pytest.approx(kid(HALVES[0].e, HALVES[1].e))
    assert found["recall"].floor == pytest.approx(knn_recall(HALVES[1].e, HALVES[0].e))
    within = distances_within_modes(sets(VANILLA, None), REFERENCE)["cmmd"]
    own = [cmmd(HALVES[0].placed.inside(m), HALVES[1].placed.inside(m)) for m in (0, 1)]
    assert within.floor == pytest.approx((24 * own[0] + 8 * own[1]) / 32)  # by vanilla's own counts of each mode


def test_precision_has_the_interval_of_a_share_over_blocks():
    entry = against_reference(sets(GUIDED, VANILLA), REFERENCE)["precision"]
    assert entry.blocks == 4
    assert 0 <= entry.low <= entry.value <= entry.high <= 1


def test_too_few_images_are_null_with_the_reason_and_so_is_the_floor():
    few = REFERENCE.rows(np.arange(3))
    found = against_reference(sets(GUIDED, VANILLA), few)
    for key, reason in (
        ("frechet_distance", "N must be above"),
        ("precision", "`real` must have at least 4 rows, got 3"),
    ):
        assert found[key].value is None and reason in found[key].reason and reason in found[key].more["floor_reason"]
    none = against_reference(sets(GUIDED.rows(np.zeros(32, dtype=bool)), VANILLA), REFERENCE)
    assert all(entry.value is None and entry.reason for entry in none.values())
    assert none["kid"].floor is not None


def test_within_modes_is_the_mean_weighted_by_the_arms_own_modes():
    found = distances_within_modes(sets(GUIDED, VANILLA), REFERENCE)
    inside = [[data.placed.inside(m) for m in (0, 1)] for data in (GUIDED, VANILLA, REFERENCE)]
    pure = {"kid": kid, "cmmd": cmmd, "precision": lambda x, y: knn_precision(y, x)}
    for key, metric in pure.items():
        arm_by_mode, own = ([metric(x, y) for x, y in zip(side, inside[2], strict=True)] for side in inside[:2])
        assert found[key].value == pytest.approx(np.mean(arm_by_mode)), key  # 16 images of each
        assert found[key].floor == pytest.approx(np.mean(own)), key
    assert found["precision"].low <= found["precision"].value <= found["precision"].high


def test_a_new_mix_costs_within_modes_nothing_and_as_a_whole_much():
    big = {seed: arm("guided", 200, n=400, seed=seed) for seed in (1, 2)}
    reference = replace(arm("reference", 40, n=400, seed=9), blocks=np.arange(400))
    vanilla = arm("vanilla", 40, n=400, seed=3)
    whole = against_reference(sets(big[1], vanilla), reference)["kid"]
    within = distances_within_modes(sets(big[1], vanilla), reference)["kid"]
    assert whole.value > whole.floor + 0.3
    assert abs(within.value) < 0.1 * whole.value and abs(within.floor) < 0.1 * whole.value
    e = big[2].e + 0.5 * np.random.default_rng(0).normal(size=(400, 3))
    damaged = replace(big[2], e=e / np.linalg.norm(e, axis=1, keepdims=True))
    harm = distances_within_modes(sets(damaged, vanilla), reference)
    assert harm["kid"].value > 5 * abs(within.value) and harm["precision"].value < 0.8
    assert harm["precision"].value < harm["precision"].floor


def test_a_mode_that_is_too_small_is_left_out_of_both_sides_and_counted():
    rare = REFERENCE.rows(np.r_[0:40, 40:43])  # 40 of mode 0, 3 of mode 1: no ball of 3 neighbours
    found = distances_within_modes(sets(GUIDED, VANILLA), rare)
    assert found["kid"].n == 32 and found["precision"].n == 16
    covered = knn_precision(rare.placed.inside(0), GUIDED.placed.inside(0))
    assert found["precision"].value == pytest.approx(covered)
    alone = arm("vanilla", 1)  # a single image of mode 1 has no KID
    found = distances_within_modes(sets(GUIDED, alone), REFERENCE)
    assert found["kid"].n == 16 and found["precision"].n == 32
    nothing = distances_within_modes(sets(GUIDED, VANILLA), REFERENCE.rows(np.arange(1)))
    assert all(entry.value is None and "no mode has" in entry.reason for entry in nothing.values())


def test_features_of_an_extractor_are_what_is_compared_but_by_cmmd():
    guided, vanilla, reference = [
        replace(data, features=np.random.default_rng(seed).normal(size=(len(data), 5)).astype(np.float32))
        for seed, data in enumerate((GUIDED, VANILLA, REFERENCE))
    ]
    suite = MetricSuite(kid_gamma=0.2)
    found = against_reference(sets(guided, vanilla, suite), reference)
    within = distances_within_modes(sets(guided, vanilla, suite), reference)
    assert found["kid"].value == pytest.approx(kid(guided.features, reference.features, suite.kid_kernel))
    assert found["frechet_distance"].value == pytest.approx(frechet_distance(guided.features, reference.features))
    assert found["cmmd"].value == pytest.approx(cmmd(GUIDED.e, REFERENCE.e))
    assert [found[key].more["features"] for key in KEYS] == [5, 5, 3, 5, 5, 5]
    assert {key: entry.more["features"] for key, entry in within.items()} == {"kid": 5, "cmmd": 3, "precision": 5}


def test_images_at_the_lower_bound_of_the_clip_score_are_counted():
    scores = np.where(np.arange(32) < 24, 0.0, 8.0)
    entry = clip_score_of(replace(GUIDED, clip_score=scores), 0.95)
    assert entry.value == pytest.approx(2) and entry.more["at_zero"] == 24
    assert entry.to_json().keys().isdisjoint({"floor", "floor_of", "reference_n"})  # nothing is compared


def test_clip_score_says_why_it_is_null():
    no_text, no_prompt = replace(GUIDED, clip_score=None), replace(GUIDED, clip_score=np.full(32, np.nan))
    for data, reason in ((no_text, "the encoder embeds no text"), (no_prompt, "no image was drawn from a prompt")):
        entry = clip_score_of(data, 0.95)
        assert entry.value is None and entry.reason == reason
