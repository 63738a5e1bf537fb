"""`summarise` on planted arrays: each number by hand, pooled arms, blanked images, and a reason for every null."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from selfdebias.metrics import MetricSuite
from selfdebias.metrics.arms import ArmData, load_arm, pool, save_arm
from selfdebias.metrics.fairness import METRICS, expected_floor
from selfdebias.metrics.number import number_at
from selfdebias.metrics.summary import summarise, summarise_cost

CLASSES = {"gender": ("man", "woman"), "tone": ("pale", "brown", "dark")}
PROMPTS = {"text": "a person", "attributes": ["gender", "tone"]}
MODES = {"k": 2, "sizes": [40, 20], "silhouette": 0.4, "stability": {"value": 1.0, "n": 60}, "target": [0.5, 0.5]}
MODES["labels"] = {str(i): i % 3 // 2 for i in range(60)}


def arm(name: str, women: int, n: int = 32, seed: int = 0, first_seed: int = 100) -> ArmData:
    """`women` images of the second class and mode come last; tone is always pale."""
    generator = np.random.default_rng(seed)
    modes = (np.arange(n) >= n - women).astype(np.int64)
    e = np.eye(3)[modes] + generator.normal(size=(n, 3)) * 0.1
    gender = np.where(modes[:, None] == [0, 1], 0.9, 0.1)
    return ArmData(
        arm=name,
        threshold=0.5,
        classes=CLASSES,
        probabilities={"gender": gender, "tone": np.tile([0.8, 0.2, 0.0], (n, 1))},
        e=e / np.linalg.norm(e, axis=1, keepdims=True),
        modes=modes,
        ids=np.arange(n),
        seeds=np.arange(first_seed, first_seed + n, dtype=np.uint64),
        blocks=np.arange(n) // 8,
        runs=np.zeros(n, dtype=np.int64),
        blanked=np.zeros(n, dtype=bool),
        psnr=None if name in ("vanilla", "reference") else np.full(n, 20.0),
        clip_score=np.linspace(20, 30, n),
    )


def interleaved(data: ArmData) -> ArmData:
    """Batches that are alike, in place of one for each class."""
    return replace(data, blocks=np.arange(len(data)) % 4)


def summary(arms: list[ArmData], reference: ArmData | None = None, **more) -> dict:
    reference = arm("reference", 20, n=60, seed=9, first_seed=0) if reference is None else reference
    reference = replace(reference, blocks=reference.ids)
    arms_by_name = {data.arm: data for data in arms}
    return summarise(arms_by_name, reference, MODES, PROMPTS, MetricSuite(), bootstrap=100, **more)


@pytest.fixture(scope="module")
def results() -> dict:
    return summary([arm("vanilla", 4), arm("guided", 16, seed=1)])


def walk(tree, path=()):
    if isinstance(tree, dict):
        yield path, tree
        for key, value in tree.items():
            yield from walk(value, (*path, key))
    elif isinstance(tree, list):
        for value in tree:
            yield from walk(value, path)


def test_fairness_entries_have_value_interval_n_and_floor(results):
    entry = results["arms"]["vanilla"]["gender"]["fd_hard"]
    assert entry["value"] == pytest.approx(math.sqrt(2) * abs(4 / 32 - 0.5))
    assert entry["n"] == 32
    assert entry["blocks"] == 4
    assert entry["floor"] == expected_floor("fd_hard", 2, 32)
    assert entry["low"] <= entry["value"] <= entry["high"]
    assert results["arms"]["vanilla"]["gender"]["fd_soft"]["value"] == pytest.approx(math.sqrt(2) * (0.8 - 0.5))
    assert results["arms"]["guided"]["gender"]["gap"]["value"] == 0
    assert set(results["arms"]["guided"]["tone"]) == set(METRICS)


def test_shares_keep_absent_classes(results):
    assert {name: entry["value"] for name, entry in results["arms"]["guided"]["shares"]["tone"].items()} == {
        "pale": 1.0,
        "brown": 0.0,
        "dark": 0.0,
    }


def test_modes_are_measured_without_the_judge(results):
    assert results["arms"]["guided"]["mode_fd"]["value"] == 0
    assert results["arms"]["vanilla"]["mode_kl"]["value"] == pytest.approx(
        0.875 * math.log(1.75) + 0.125 * math.log(0.25)
    )
    assert results["arms"]["vanilla"]["mode_shares"]["1"]["value"] == 0.125
    assert results["modes"]["k"] == 2
    assert 0 <= results["modes"]["nmi"]["gender"] < 0.1  # the planted labels have nothing to do with the classes


def test_intersections_are_classes_of_their_own():
    vanilla = arm("vanilla", 4)
    vanilla.probabilities["tone"][:8] = [0.1, 0.9, 0.0]
    vanilla.probabilities["gender"][0] = [0.49, 0.51]
    strict, reference = (
        replace(vanilla, threshold=0.6),
        replace(arm("reference", 20, n=60, first_seed=0), threshold=0.6),
    )
    prompts = {"text": "a person", "attributes": ["gender", "gender x tone"]}
    found = summarise({"vanilla": strict}, reference, MODES, prompts, MetricSuite(), bootstrap=50)["arms"]["vanilla"]
    counts = {name: entry["value"] * 31 for name, entry in found["shares"]["gender x tone"].items()}
    assert counts == pytest.approx(
        {"man x pale": 20, "man x brown": 7, "man x dark": 0, "woman x pale": 4, "woman x brown": 0, "woman x dark": 0}
    )
    assert found["unclassified"]["gender x tone"]["value"] == 1 / 32
    joint = strict.crossed(["gender x tone"]).probabilities["gender x tone"]
    assert np.allclose(
        joint.reshape(32, 2, 3), strict.probabilities["gender"][:, :, None] * strict.probabilities["tone"][:, None]
    )
    assert set(found["gender x tone"]) == set(METRICS)


def test_an_unknown_part_of_an_intersection_is_refused():
    prompts = {"text": "a person", "attributes": ["gender x hair"]}
    with pytest.raises(ValueError, match="`prompts.attributes` must be among .*, got 'hair'"):
        summarise({"vanilla": arm("vanilla", 4)}, arm("reference", 9), MODES, prompts, MetricSuite())


def test_at_floor_is_a_key_of_every_distance_and_null_where_it_means_nothing(results):
    guided = results["arms"]["guided"]
    assert all("at_floor" in guided[name][key] for name in ("gender", "tone") for key in METRICS)
    assert guided["gender"]["gap"]["at_floor"] is None  # signed
    assert guided["tone"]["gap"]["at_floor"] is False


def test_without_an_interval_there_is_a_reason_and_nothing_is_said_of_the_floor():
    one_batch = replace(arm("guided", 16, seed=1), blocks=np.zeros(32, dtype=np.int64))
    found = summary([arm("vanilla", 4), one_batch], costs={"guided": {"dependence": "batch"}})
    unbounded = [node for _, node in walk(found["arms"]["guided"]) if "low" in node and node["low"] is None]
    assert len(unbounded) > 10
    assert {node["reason"] for node in unbounded} == {"no interval: one batch"}
    assert {node.get("at_floor") for node in unbounded} == {None}
    assert found["verdicts"]["guided"]["gender"] is None and found["dependence"] == {"guided": "batch"}


def test_where_batches_depend_on_each_other_this_is_the_reason_of_a_missing_interval():
    one_run = replace(arm("guided", 16, seed=1), blocks=np.zeros(32, dtype=np.int64))
    found = summary(
        [arm("vanilla", 4), one_run], costs={"vanilla": {"dependence": "image"}, "guided": {"dependence": "run"}}
    )
    reasons = [node["reason"] for _, node in walk(found["arms"]["guided"]) if "low" in node and node["low"] is None]
    assert len(reasons) > 10 and {*reasons} == {"no interval: the batches of this run depend on each other"}
    assert not any("batches" in node.get("reason", "") for _, node in walk(found["arms"]["vanilla"]))


def test_verdicts_and_runs_stand_beside_the_numbers(results):
    assert results["verdicts"]["guided"]["tone"] == "not told apart"
    assert results["arms"]["guided"]["gender"]["fd_hard"]["at_floor"] is True
    pooled = {
        name: pool([interleaved(arm(name, w)), interleaved(arm(name, w + 2, first_seed=500))])
        for name, w in (("vanilla", 4), ("guided", 14))
    }
    found = summary(list(pooled.values()))
    assert found["arms"]["vanilla"]["by_run"]["gender"]["share"] == [28 / 32, 26 / 32]
    assert found["arms"]["guided"]["by_run"]["gender"]["fd_hard"][1] == 0
    assert found["verdicts"]["guided"] == {"gender": "fairer", "tone": "not told apart", "modes": "fairer"}


def test_twins_of_vanilla(results):
    guided = results["arms"]["guided"]
    assert guided["turned"]["n"] == 12
    assert guided["turned"]["share"]["value"] == 12 / 32
    assert guided["kept_share"]["value"] == 20 / 32
    assert guided["kept_cosine"]["n"] == 20
    assert 0.9 < guided["kept_cosine"]["value"] < 1
    assert guided["psnr"]["value"] == 20
    for key in ("turned", "kept_cosine", "kept_share", "psnr"):
        assert results["arms"]["vanilla"][key]["value"] is None
        assert results["arms"]["vanilla"][key]["reason"]


def test_distances_state_floor_and_reference(results):
    vanilla, guided = results["arms"]["vanilla"]["frechet_distance"], results["arms"]["guided"]["frechet_distance"]
    assert guided["floor"] == vanilla["value"]  # vanilla against the same reference
    assert guided["reference_n"] == 60
    assert "half of the reference" in vanilla["floor_of"]
    assert vanilla["floor"] is not None
    assert "biased upwards" in summary([arm("vanilla", 2, n=16)])["arms"]["vanilla"]["frechet_distance"]["warning"]
    assert results["arms"]["guided"]["kid"]["low"] <= results["arms"]["guided"]["kid"]["high"]


def test_every_null_has_a_reason_and_nothing_is_nan(results):
    json.dumps(results, allow_nan=False)
    nulls = [node for _, node in walk(results) if "value" in node and node["value"] is None]
    assert nulls
    assert all(node["reason"] for node in nulls)


def test_fid_is_null_at_n_up_to_d():
    entry = summary([arm("vanilla", 1, n=3)])["arms"]["vanilla"]["frechet_distance"]
    assert entry["value"] is None
    assert "N must be above the feature dimension 3" in entry["reason"]


def test_blanked_images_count_as_nothing_else():
    vanilla, guided = arm("vanilla", 4), arm("guided", 16, seed=1)
    guided.blanked[:8] = True
    measured = summary([vanilla, guided])["arms"]["guided"]
    assert measured["blanked"]["value"] == 0.25
    assert measured["gender"]["gap"]["value"] == pytest.approx(8 / 24 - 16 / 24)
    assert (
        measured["gender"]["fd_soft"]["n"]
        == measured["turned"]["share"]["n"]
        == measured["frechet_distance"]["n"]
        == 24
    )
    guided.blanked[:] = True
    measured = summary([vanilla, guided])["arms"]["guided"]
    assert measured["blanked"]["value"] == 1
    for entry in (
        measured["gender"]["gap"],
        measured["mode_fd"],
        measured["frechet_distance"],
        measured["kid"],
        measured["turned"],
    ):
        assert entry["value"] is None
        assert entry["reason"]


def test_unclassified_images_leave_the_hard_shares_only():
    vanilla = arm("vanilla", 4)
    vanilla.probabilities["gender"][:16] = [0.49, 0.51]
    strict = replace(vanilla, threshold=0.6)
    measured = summary([strict])["arms"]["vanilla"]
    assert measured["unclassified"]["gender"]["value"] == 0.5
    assert measured["gender"]["gap"]["n"] == 16
    assert measured["gender"]["gap"]["value"] == pytest.approx(12 / 16 - 4 / 16)
    assert measured["gender"]["fd_soft"]["n"] == 32


def test_arms_of_other_seeds_are_no_twins():
    measured = summary([arm("vanilla", 4), arm("guided", 16, first_seed=500)])["arms"]["guided"]
    assert measured["turned"]["reason"] == "the arm's seeds are not those of the vanilla arm"
    assert summary([arm("guided", 16)])["arms"]["guided"]["psnr"]["reason"] == "there is no vanilla arm"


def test_identical_images_have_no_psnr_and_are_counted():
    same = replace(arm("guided", 4), psnr=np.array([np.inf] * 30 + [10.0, 30.0]))
    measured = summary([arm("vanilla", 4), same])["arms"]["guided"]
    assert measured["psnr"]["value"] == 20
    assert measured["psnr"]["identical"] == 30
    assert measured["turned"]["precision"]["reason"] == "no image switched"
    assert measured["kept_cosine"]["value"] == pytest.approx(1)


def test_the_level_is_stated_and_wider_intervals_have_a_higher_one(results):
    arms = {it.arm: it for it in (arm("vanilla", 4), arm("guided", 16, seed=1))}
    reference = arm("reference", 20, n=60, seed=9, first_seed=0)
    narrow = summarise(arms, reference, MODES, PROMPTS, MetricSuite(level=0.5), bootstrap=100)
    assert (narrow["level"], results["level"]) == (0.5, 0.95)
    at = ("arms", "guided", "shares", "gender", "man")
    widths = [it.high - it.low for it in (number_at(narrow, *at), number_at(results, *at))]
    assert 0 < 2 * widths[0] < widths[1]


def test_edits_that_were_left_out_are_counted_by_arm():
    costs = {"vanilla": {"skipped_edits": 0}, "guided": {"skipped_edits": 3}}
    assert summary([arm("vanilla", 4)], costs=costs)["skipped_edits"] == {"vanilla": 0, "guided": 3}


def test_cost_and_judge_and_seeds_are_passed_on():
    costs = {"vanilla": {"seconds_per_image": 2.0, "peak_memory_mb": 0.0}, "guided": {"seconds_per_image": 2.2}}
    measured = summary([arm("vanilla", 4)], costs=costs, judge={"circular": False}, seeds={"generate": [1, 2]})
    assert measured["cost"]["ratio"] == pytest.approx(1.1)
    assert measured["cost"]["guidance_share"]["value"] is None
    assert measured["judge"] == {"circular": False}
    assert measured["seeds"] == {"generate": [1, 2]}


def test_unknown_attribute_is_refused():
    with pytest.raises(ValueError, match=r"`prompts.attributes` must be among \['gender', 'tone'\], got 'age'"):
        summarise({}, arm("reference", 2), MODES, {"attributes": ["age"]}, MetricSuite())


def test_saved_arm_comes_back(tmp_path):
    features = np.random.default_rng(0).normal(size=(32, 7)).astype(np.float32)
    data = replace(arm("guided", 3), psnr=np.array([np.inf] + [20.0] * 31), features=features)
    save_arm(tmp_path, data)
    back = load_arm(tmp_path, "guided")
    assert back.classes == data.classes
    assert back.threshold == data.threshold
    for name in ("modes", "ids", "seeds", "blocks", "blanked", "psnr", "clip_score", "features"):
        assert np.array_equal(getattr(back, name), getattr(data, name)), name
    assert np.allclose(back.e, data.e, atol=1e-7)
    assert back.features.dtype == np.float32
    assert back.e.dtype == back.probabilities["tone"].dtype == np.float64
    with pytest.raises(FileNotFoundError, match=r"`arm` must be one of \['guided'\]"):
        load_arm(tmp_path, "random")


def test_pooled_runs_keep_twins_matched_and_blocks_apart():
    runs = [
        (arm("vanilla", 4, seed=i, first_seed=i * 50), arm("guided", 8 + i, seed=i, first_seed=i * 50)) for i in (2, 3)
    ]
    vanilla, guided = (pool([run[side] for run in runs]) for side in (0, 1))
    measured = summary([vanilla, guided])["arms"]["guided"]
    assert measured["gender"]["fd_hard"]["n"] == 64
    assert measured["gender"]["fd_hard"]["blocks"] == 8
    assert measured["turned"]["n"] == (10 - 4) + (11 - 4)
    swapped = summary([vanilla, pool([runs[1][1], runs[0][1]])])["arms"]["guided"]  # twins are found by their seeds
    assert swapped["turned"]["n"] == measured["turned"]["n"]
    assert swapped["kept_cosine"]["value"] == pytest.approx(measured["kept_cosine"]["value"])


def test_pooling_the_same_seeds_twice_is_refused():
    with pytest.raises(ValueError, match="`runs` must not share a seed, got 32 seeds twice"):
        pool([arm("vanilla", 4), arm("vanilla", 5)])
    with pytest.raises(ValueError, match="`runs` must have the same arm"):
        pool([arm("vanilla", 4), arm("guided", 5)])
    with pytest.raises(ValueError, match="at least one run"):
        pool([])


def test_runs_with_and_without_features_are_not_pooled():
    one, other = arm("vanilla", 4), arm("vanilla", 5, first_seed=900)
    with pytest.raises(ValueError, match="the same arm, judge, twins and features"):
        pool([one, replace(other, features=np.ones((32, 5), dtype=np.float32))])
    with pytest.raises(ValueError, match="the same arm, judge, twins and features"):
        pool([one, replace(other, clip_score=None)])
    pooled = pool([replace(data, features=np.ones((32, 5), dtype=np.float32)) for data in (one, other)])
    assert pooled.features.shape == (64, 5) and pooled.clip_score.shape == (64,)


def test_order_of_images_does_not_matter():
    vanilla, guided = arm("vanilla", 4), arm("guided", 16, seed=1)
    order = np.random.default_rng(0).permutation(32)
    one, other = summary([vanilla, guided]), summary([vanilla.rows(order), guided.rows(order)])
    for (path, a), (_, b) in zip(walk(one["arms"]), walk(other["arms"]), strict=True):
        for key in a.keys() & {"value", "low", "high", "floor"}:
            assert a[key] == (None if b[key] is None else pytest.approx(b[key], rel=1e-9, abs=1e-12)), (path, key)


def test_bounds_stay_in_the_range_of_a_cosine():
    vanilla, guided = arm("vanilla", 4), arm("guided", 4)
    guided.e[0] = -guided.e[0]  # one batch far from the others: Student's t reaches over 1
    found = summary([vanilla, guided])["arms"]["guided"]
    assert found["twin_cosine"]["high"] == 1
    assert found["twin_cosine"]["low"] < found["twin_cosine"]["value"] < 1


def cost_of(seconds: float, **facts) -> dict:
    return {"seconds_per_image": seconds, "guidance_share": 0.1, "peak_memory_mb": 100.0, **facts}


def test_arms_that_other_numbers_of_processes_drew_have_no_ratio():
    cost = summarise_cost({"vanilla": cost_of(2.0), "guided": cost_of(1.5, processes=2)})
    for name in ("ratio", "peak_memory_ratio"):
        assert cost[name].value is None
        assert cost[name].reason == "the vanilla arm was drawn by 1 processes, the guided arm by 2"
    assert cost["seconds_per_image"] == {"vanilla": 2.0, "guided": 1.5}


def test_arms_that_as_many_processes_drew_have_one():
    assert summarise_cost({"vanilla": cost_of(2.0, processes=2), "guided": cost_of(3.0, processes=2)})["ratio"] == 1.5
