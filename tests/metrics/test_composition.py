"""Composition and agreement of pairs: planted worlds in which images change, and in which the mix alone does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfdebias.metrics.comparison import NO_MODES, Sets
from selfdebias.metrics.composition import composition, predicted, reweighted
from selfdebias.metrics.intervals import BlockBootstrap, share_interval
from selfdebias.metrics.preservation import paired_agreement
from tests.metrics.test_summary import arm, summary

RESAMPLING = BlockBootstrap(400)
TONES = {0: [0.3, 0.5, 0.2], 1: [0.05, 0.9, 0.05]}  # shares of the tones in the two modes, as of ages of men and women


def sets(arm, vanilla, n_modes=2):
    return Sets(arm, vanilla, None, resampling=RESAMPLING, n_modes=n_modes)


def toned(data, seed, tones=TONES, unsure=0.0):
    """Draw each image's tone by its mode; the judge is unsure of some."""
    draw = np.random.default_rng(seed)
    labels = np.array([draw.choice(3, p=tones[int(mode)]) for mode in data.modes])
    p = np.eye(3)[labels] * 0.8 + 0.2 / 3
    p[draw.random(len(data)) < unsure] = [0.34, 0.33, 0.33]
    return replace(data, probabilities={**data.probabilities, "tone": p}, threshold=0.5)


def pair(seed, n=320, **more):
    vanilla = replace(toned(arm("vanilla", n // 4, n=n), seed, **more), blocks=np.arange(n))
    guided = replace(toned(arm("guided", n // 2, n=n, seed=1), seed + 1, **more), blocks=np.arange(n) % (n // 32))
    return guided, vanilla


def test_the_prediction_is_what_copies_of_vanilla_images_would_show():
    guided, vanilla = pair(0, unsure=0.1)
    labels, sure = vanilla.labels("tone")
    counts, wanted = np.bincount(vanilla.modes), np.bincount(guided.modes)
    weights = np.array([wanted[m] / counts[m] for m in vanilla.modes])
    shares = np.array([weights[sure & (labels == c)].sum() for c in range(3)]) / weights[sure].sum()
    found = composition(sets(guided, vanilla), ["tone"])["tone"]
    names = ("pale", "brown", "dark")
    assert [found["predicted_shares"][name].value for name in names] == pytest.approx(shares)
    assert found["predicted_fd_hard"].value == pytest.approx(np.linalg.norm(shares - 1 / 3))
    assert found["predicted_fd_hard"].more["vanilla_n"] == 320
    measured = summary([vanilla, guided])["arms"]["guided"]
    entry = measured["composition"]["tone"]["measured_fd_hard"]
    assert (
        entry["value"] == measured["tone"]["fd_hard"]["value"]
        and entry["floor"] == measured["tone"]["fd_hard"]["floor"]
    )


def test_a_new_mix_alone_is_inside_of_the_predicted_interval_and_damage_is_not():
    guided, vanilla = pair(3)
    found = composition(sets(guided, vanilla), ["tone"])["tone"]
    before = summary([vanilla])["arms"]["vanilla"]["tone"]["fd_hard"]["value"]
    low, high = found["predicted_fd_hard"].low, found["predicted_fd_hard"].high
    assert before < low < found["measured_fd_hard"].value < high  # less fair, and no image is to blame
    damaged = toned(guided, 9, {0: [0.05, 0.9, 0.05], 1: [0.0, 1.0, 0.0]})
    found = composition(sets(damaged, vanilla), ["tone"])["tone"]
    assert found["measured_fd_hard"].low > found["predicted_fd_hard"].high


def test_the_predicted_interval_covers_what_reweighting_the_population_gives():
    truth = 0.5 * np.array(TONES[0]) + 0.5 * np.array(TONES[1])
    distance, hits = np.linalg.norm(truth - 1 / 3), 0
    for seed in range(100):
        entry = predicted(*pair(1000 + 2 * seed), "tone", 2, RESAMPLING)["predicted_fd_hard"]
        hits += entry.low <= distance <= entry.high
    assert 90 <= hits <= 99


def test_few_batches_do_not_widen_what_many_independent_images_tell():
    guided, vanilla = pair(3)
    few = replace(guided, blocks=np.arange(320) % 3)  # three batches, all balanced alike
    wide, narrow = (predicted(it, vanilla, "tone", 2, RESAMPLING)["predicted_fd_hard"] for it in (few, guided))
    assert wide.high - wide.low < 1.2 * (narrow.high - narrow.low)


def test_what_cannot_be_predicted_says_why():
    guided, vanilla = pair(0)
    assert composition(sets(vanilla, vanilla), ["tone"]).reason.endswith("weighted anew")
    assert composition(sets(guided, None), ["tone"]).reason == "there is no vanilla arm"
    assert composition(sets(guided, vanilla, 0), ["tone"]).reason == NO_MODES
    men = vanilla.rows(vanilla.modes == 0)
    found = composition(sets(guided, men), ["tone"])["tone"]
    assert "of a mode that the arm shows" in found["predicted_fd_hard"].reason
    assert found["measured_fd_hard"].value is not None
    one = replace(guided, blocks=np.zeros(320, dtype=np.int64))
    entry = composition(sets(one, vanilla), ["tone"])["tone"]["predicted_fd_hard"]
    assert entry.value > 0 and entry.low is None and entry.reason == "no interval: one batch"


def test_a_mode_that_is_not_wanted_needs_no_image():
    tables = np.array([[[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    assert reweighted(tables, np.array([[5.0, 0.0]]), 2).tolist() == [[0.75, 0.25]]
    assert np.isnan(reweighted(tables, np.array([[5.0, 1.0]]), 2)).all()


def test_blanked_images_are_neither_weighted_nor_counted():
    guided, vanilla = pair(0)
    expected = composition(sets(guided.rows(np.arange(32, 320)), vanilla.rows(np.arange(64, 320))), ["tone"])
    guided.blanked[:32] = vanilla.blanked[:64] = True
    assert composition(sets(guided, vanilla), ["tone"]) == expected


def test_agreement_counts_pairs_whose_shares_hide_their_change():
    vanilla, guided = arm("vanilla", 8), arm("guided", 16, seed=1)  # 8 images turn, 24 stay
    order = np.array([1, 0, *range(2, 32)])
    tones = vanilla.probabilities["tone"].copy()
    tones[0] = [0.1, 0.8, 0.1]
    vanilla = replace(vanilla, probabilities={**vanilla.probabilities, "tone": tones})
    guided = replace(guided, probabilities={**guided.probabilities, "tone": tones[order]})  # two kept images swap tones
    found = summary([vanilla, guided])["arms"]["guided"]
    assert found["shares"]["tone"]["brown"]["value"] == 1 / 32
    agreement = found["paired_agreement"]
    assert agreement["tone"]["unswitched"]["value"] == 22 / 24 and agreement["tone"]["unswitched"]["n"] == 24
    assert agreement["tone"]["switched"]["value"] == 1 and agreement["tone"]["switched"]["n"] == 8
    assert agreement["gender"]["switched"]["value"] == 0 and agreement["gender"]["unswitched"]["value"] == 1
    interval = share_interval([[6, 8], [8, 8], [8, 8]])  # batches of 8, of which all of the third turned
    entry = agreement["tone"]["unswitched"]
    assert (entry["low"], entry["high"]) == pytest.approx((interval.low, interval.high))


def test_pairs_that_the_judge_is_not_sure_of_do_not_count():
    vanilla, guided = (replace(it, threshold=0.6) for it in (arm("vanilla", 8), arm("guided", 8)))
    guided.probabilities["gender"][0] = vanilla.probabilities["gender"][5] = [0.55, 0.45]
    found = paired_agreement(sets(guided, vanilla), ["gender"])["gender"]
    assert found["unswitched"].n == 30 and found["switched"].reason == "no image switched"
    vanilla.probabilities["gender"][:] = [0.5, 0.5]
    found = paired_agreement(sets(guided, vanilla), ["gender"])["gender"]
    assert found["unswitched"].reason == "the judge is sure of no such pair"


def test_without_twins_or_modes_there_is_no_agreement():
    guided, other = arm("guided", 8), arm("vanilla", 8, first_seed=900)
    assert "seeds are not those" in paired_agreement(sets(guided, other), ["gender"]).reason
    assert paired_agreement(sets(guided, arm("vanilla", 8), 0), ["gender"]).reason == NO_MODES


def scored(data, at_zero):
    return replace(data, clip_score=np.where(np.arange(32) < at_zero, 0.0, 8.0))


@pytest.mark.parametrize(("at_zero", "dropped"), [((30, 10), True), ((20, 12), False), ((32, 0), False)])
def test_a_clip_score_that_says_nothing_of_all_arms_together_is_null(at_zero, dropped):
    arms = [scored(arm(name, 8), n) for name, n in zip(("vanilla", "guided"), at_zero, strict=True)]
    for entry in (it["clip_score"] for it in summary(arms)["arms"].values()):
        assert (entry["value"] is None) == dropped and entry["n"] == 32
        assert not dropped or entry["reason"].startswith("40 of 64 images of all arms")
