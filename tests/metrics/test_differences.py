"""Paired differences against closed forms and naive loops: common blocks, what cancels, Holm by hand, and why there is none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from selfdebias.metrics import MetricSuite, quality
from selfdebias.metrics.comparison import OTHER_SEEDS, Sets
from selfdebias.metrics.differences import difference, differences, joined_blocks, pair_of, shares_apart
from selfdebias.metrics.distances import mmd
from selfdebias.metrics.fairness import fd_hard
from selfdebias.metrics.intervals import BlockBootstrap, Draws
from selfdebias.metrics.number import Number
from selfdebias.metrics.shares import mean_draws, resampled_shares
from selfdebias.metrics.verdicts import holm
from tests.metrics.test_summary import MODES, arm, interleaved, summary

BOOTSTRAP = BlockBootstrap(4000)


def test_a_mean_difference_has_the_interval_and_the_p_value_of_a_paired_t_test():
    generator = np.random.default_rng(0)
    shared = generator.normal(size=40)
    x, y = (shared + 0.3 * generator.normal(size=40) + offset for offset in (0.2, 0.0))
    every, blocks = np.ones(40, dtype=bool), np.arange(40)
    number = difference((mean_draws(it, every, blocks, BOOTSTRAP) for it in (x, y)), 40, BOOTSTRAP)
    expected = ttest_rel(x, y)
    low, high = expected.confidence_interval()
    assert (number.value, number.low, number.high) == pytest.approx((x.mean() - y.mean(), low, high), abs=0.01)
    assert number.more["p"] == pytest.approx(expected.pvalue, rel=0.3) and number.more["p"] < 0.05
    alone = [BOOTSTRAP.around(*mean_draws(it, every, blocks, BOOTSTRAP), 40) for it in (x, y)]
    assert alone[0].low < alone[1].high  # the two intervals overlap, by what the arms share


def test_the_p_value_is_below_the_rest_of_the_level_exactly_where_the_interval_leaves_out_0():
    generator = np.random.default_rng(1)
    for shift in np.linspace(0, 1, 30):
        draws = Draws(shift, shift + 0.3 * generator.normal(size=500)), Draws(0.0, np.zeros(500))
        number = difference(draws, 9, BOOTSTRAP)
        assert (number.more["p"] < 0.05) == (number.low > 0)


def test_an_arm_does_not_differ_from_itself():
    guided = arm("guided", 12)
    sets = Sets(guided, arm("vanilla", 4, seed=3), arm("reference", 20, n=60, first_seed=0), n_modes=2)
    found = differences(sets, guided, ["tone"], MODES)
    for name in ("kept_cosine", "kept_share", "twin_cosine", "kid", "cmmd", "precision"):
        assert (found[name].value, found[name].low, found[name].high, found[name].more["p"]) == (0, 0, 0, 1), name


@pytest.fixture(scope="module")
def arms():
    reference = replace(arm("reference", 20, n=60, seed=9, first_seed=0), blocks=np.arange(60))
    vanilla, guided, peer = (
        interleaved(arm(name, w, seed=w)) for name, w in (("vanilla", 4), ("guided", 16), ("random", 9))
    )
    return vanilla, guided, peer, reference


def test_each_difference_is_that_of_the_two_numbers_under_its_own_name(arms):
    vanilla, guided, peer, reference = arms
    results = summary([vanilla, guided, peer], reference)["arms"]
    for name, other in (("guided", "vanilla"), ("random", "vanilla"), ("random", "guided")):
        own, against, apart = results[name], results[other], results[name]["difference"][other]
        for path in (["gender", "fd_hard"], ["gender", "gap"], ["tone", "fd_soft"], ["shares", "gender", "man"], ["mode_fd"],
                     ["mode_kl"], ["kid"], ["cmmd"], ["precision"]):  # fmt: skip
            a, b, d = (value_at(tree, path) for tree in (own, against, apart))
            assert d == pytest.approx(a - b), path
    apart = results["random"]["difference"]["guided"]
    for key in ("kept_cosine", "kept_share", "twin_cosine"):
        assert apart[key]["value"] == pytest.approx(results["random"][key]["value"] - results["guided"][key]["value"])
        kept = results["guided"]["difference"]["vanilla"][key]["value"]
        assert kept == pytest.approx(results["guided"][key]["value"] - 1)  # vanilla is as it is
    assert "difference" not in results["vanilla"] and [*results["guided"]["difference"]] == ["vanilla"]


def value_at(tree, path):
    for key in path:
        tree = tree[key]
    return tree["value"]


def test_both_sides_are_computed_under_the_same_weights_of_blocks(arms):
    vanilla, guided, _, reference = arms
    resampling = BlockBootstrap(50)
    found = differences(Sets(guided, vanilla, reference, resampling=resampling), vanilla, ["gender"], MODES)
    blocks, suite = guided.blocks, MetricSuite()
    drawn = []
    for weights in resampling.weights(4):
        rows = np.concatenate([np.flatnonzero(blocks == b) for b in range(4) for _ in range(int(weights[b]))])
        one, other = (quality.knn_covered(reference.e, it.e[rows], 3).mean() for it in (guided, vanilla))
        drawn.append(one - other)
    one, other = (quality.knn_covered(reference.e, it.e, 3).mean() for it in (guided, vanilla))
    value = one - other
    width = abs(np.mean(drawn) - value) + resampling.t(4) * math.sqrt(4 / 3) * np.std(drawn)
    assert (found["precision"].low, found["precision"].high) == pytest.approx((value - width, value + width))
    kernel = suite.kid_kernel
    assert found["kid"].value == pytest.approx(mmd(guided.e, reference.e, kernel) - mmd(vanilla.e, reference.e, kernel))


def test_two_distances_near_0_that_move_together_are_bounded_on_either_side_of_their_targets():
    """One arm is fair, the other has 0.47 men, of the same noise: its images are the other's but for 3 of 100."""
    generator, true = np.random.default_rng(4), -math.sqrt(2) * 0.03
    resampling, held, taken_off = BlockBootstrap(300), 0, 0
    for _ in range(400):
        p, noise = generator.beta(4.5, 4.5, (20, 1)), generator.random((20, 32))
        counts = [(noise < p - shift).sum(1) for shift in (0.0, 0.03)]
        sums = [np.stack([it, 32 - it], 1).astype(np.float64) for it in counts]
        number = shares_apart(sums, {"fd": fd_hard}, resampling)["fd"]
        held += number.low <= true <= number.high
        drawn = [fd_hard(resampled_shares(it, resampling, stream)) for stream, it in enumerate(sums)]
        other = resampling.around(number.value, drawn[0] - drawn[1], 20)
        taken_off += other.low <= true <= other.high
    assert held / 400 > 0.85 > taken_off / 400 + 0.05


def test_common_blocks_are_the_finest_that_no_batch_crosses():
    generator = np.random.default_rng(2)
    for _ in range(20):
        first, second = (generator.integers(0, 9, 14) for _ in range(2))
        names, changed = np.arange(14), True
        while changed:  # the naive way: whoever shares a batch takes the smallest name
            before = names.copy()
            for blocks in (first, second):
                names = np.array([names[blocks == b].min() for b in blocks])
            changed = not np.array_equal(before, names)
        found = joined_blocks(first, second)
        assert ((found[:, None] == found) == (names[:, None] == names)).all()


def test_an_arm_of_other_seeds_or_of_some_of_them_has_no_difference():
    vanilla, chosen = arm("vanilla", 4), arm("chosen", 16, first_seed=110)  # shares 22 of 32
    assert pair_of(chosen, vanilla) == Number(reason=OTHER_SEEDS)
    results = summary([vanilla, chosen])
    assert results["arms"]["chosen"]["difference"] == {"vanilla": {"value": None, "reason": OTHER_SEEDS}}


def test_pairs_of_which_one_is_flagged_are_left_out_whatever_the_order():
    vanilla = arm("vanilla", 4)
    guided = arm("guided", 16).rows(np.arange(32)[::-1])
    vanilla.blanked[0] = guided.blanked[5] = True
    first, second = pair_of(guided, vanilla)
    assert len(first) == 30 and first.seeds.tolist() == second.seeds.tolist()
    assert not {100, int(guided.seeds[5])} & set(first.seeds.tolist())


def test_two_batches_that_are_balanced_to_the_image_leave_open_what_whole_numbers_do():
    sums = [np.full((4, 2), 16.0)] * 2
    number = shares_apart(sums, {"fd": fd_hard, "man": lambda f: f[..., 0]}, BOOTSTRAP)["man"]
    # Of each arm 4 batches of 32, each count with a standard error of a half; on both classes, so that the share has half of it.
    se = math.sqrt(2) * math.sqrt(4 * 0.25 * 2) / 2 / 128
    assert number.value == 0 and number.high == pytest.approx(BOOTSTRAP.t(4) * math.sqrt(4 / 3) * se, rel=0.05)


def test_without_a_batch_that_can_be_left_out_there_is_no_interval():
    vanilla, one = arm("vanilla", 4), replace(arm("guided", 16), blocks=np.zeros(32, dtype=np.int64))
    entry = summary([vanilla, one])["arms"]["guided"]["difference"]["vanilla"]["gender"]["fd_hard"]
    assert entry["value"] is not None and entry["low"] is None and "p" not in entry
    assert entry["reason"] == "no interval: one batch"


def test_holm_as_worked_by_hand():
    # Four p values; the smallest times 4, the next times 3, and none below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == [] and holm([None]) == [None]


def test_of_twenty_arms_that_differ_by_chance_alone_one_table_rarely_calls_one_fairer():
    generator = np.random.default_rng(3)
    p = generator.random((2000, 20))
    wrong = np.mean([min(holm(row)) < 0.05 for row in p])
    assert 0.035 < wrong < 0.065 < np.mean(p.min(1) < 0.05)


def test_an_arm_that_chose_among_further_seeds_is_paired_by_place_and_one_with_other_seeds_is_not():
    vanilla, guided = arm("vanilla", 4), arm("guided", 16)
    seeds = guided.seeds.copy()
    seeds[: len(seeds) // 2] += np.uint64(10**6)  # spawned ones
    chosen = replace(guided, seeds=seeds)
    both = pair_of(chosen, vanilla)
    assert [len(it) for it in both] == [len(vanilla)] * 2 and np.array_equal(both[0].ids, both[1].ids)
    assert pair_of(replace(guided, seeds=seeds + np.uint64(10**7)), vanilla).reason == OTHER_SEEDS
    found = differences(Sets(chosen, vanilla, None, n_modes=2), vanilla, ["tone"], MODES)
    assert found["kept_cosine"].reason == OTHER_SEEDS and found["mode_fd"].low is not None
    found = differences(Sets(guided, vanilla, None, n_modes=2), chosen, ["tone"], MODES)  # held against one that chose
    assert {found[name].reason for name in ("kept_cosine", "kept_share", "twin_cosine")} == {OTHER_SEEDS}
