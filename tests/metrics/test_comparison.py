"""Paired samples are the images of equal seed; fairer is said by the paired difference, else where intervals are apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfdebias.metrics import MetricSuite
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.comparison import NO_MODES, NO_REFERENCE, OTHER_SEEDS, Comparison, Sets, paired_rows
from selfdebias.metrics.number import Number, missing
from selfdebias.metrics.summary import summarise
from selfdebias.metrics.verdicts import compare, verdicts

MODES = {"k": 2, "sizes": [12, 8], "silhouette": 0.4, "stability": 1.0, "target": [0.5, 0.5]}


def arm(name: str, seeds: list[int], seed: int = 0, psnr: float | None = 20.0) -> ArmData:
    n, generator = len(seeds), np.random.default_rng(seed)
    e = generator.normal(size=(n, 3))
    p = generator.random((n, 1))
    return ArmData(
        name, 0.5, {"gender": ("man", "woman")}, {"gender": np.concatenate([p, 1 - p], 1)},
        e / np.linalg.norm(e, axis=1, keepdims=True), (e[:, 0] > 0).astype(np.int64), np.arange(n),
        np.array(seeds, dtype=np.uint64), np.arange(n), np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=bool), None if psnr is None else np.full(n, psnr),
    )  # fmt: skip


def summary(arms: dict[str, ArmData], reference=None, modes=None, **more) -> dict:
    prompts = {"text": "", "attributes": ["gender"]}
    return summarise(arms, reference, modes, prompts, MetricSuite(), bootstrap=20, **more)


def test_twins_are_found_as_a_loop_finds_them():
    generator = np.random.default_rng(0)
    for _ in range(20):
        a, b = generator.permutation(40)[:25].astype(np.uint64), generator.permutation(40)[:30].astype(np.uint64)
        expected = [(i, j) for i in range(25) for j in range(30) if a[i] == b[j]]
        assert list(zip(*(rows.tolist() for rows in paired_rows(a, b)), strict=True)) == expected


def test_equal_seeds_are_twins_row_by_row_even_if_one_occurs_twice():
    rows, twins = paired_rows(np.array([3, 3, 1]), np.array([3, 3, 1]))
    assert rows.tolist() == twins.tolist() == [0, 1, 2]


def test_blanked_twins_are_left_out_on_both_sides():
    a, b = arm("peer", [1, 2, 3, 4]), arm("vanilla", [4, 3, 9, 1])
    a.blanked[0] = b.blanked[1] = True
    shown, twins = Sets(a, b, None, compared=Comparison(twins_by="names")).pairs()
    assert shown.seeds.tolist() == twins.seeds.tolist() == [4]


def test_a_part_of_the_twins_gives_what_these_rows_alone_give():
    vanilla, peer = arm("vanilla", [1, 2, 3, 4, 5, 6, 7, 8], 1), arm("peer", [9, 6, 8, 1, 3, 7], 2)
    reference = arm("reference", [*range(20, 40)], 3)
    arms, named = {"vanilla": vanilla, "peer": peer}, Comparison(twins_by="names")
    part = summary(arms, reference, MODES, compared=named)
    rows = summary({"vanilla": vanilla.rows([5, 7, 0, 2, 6]), "peer": peer.rows([1, 2, 3, 4, 5])}, reference, MODES)
    for key in ("turned", "kept_cosine", "kept_share", "psnr"):
        assert part["arms"]["peer"][key] == rows["arms"]["peer"][key]
    assert part["twins"] == {"peer": 5}
    by_seeds = summary(arms, reference, MODES)["arms"][
        "peer"
    ]  # of an arm that chose its seeds, those that it shares are the same images
    assert {by_seeds[key]["reason"] for key in ("turned", "kept_cosine", "kept_share", "psnr")} == {OTHER_SEEDS}


def test_without_modes_the_twins_have_their_psnr_alone():
    arms = {"a": arm("a", [1, 2, 3], 1, None), "b": arm("b", [3, 2, 5], 2)}
    results = summary(arms, compared=Comparison("a", "names"))
    b = results["arms"]["b"]
    assert (b["psnr"]["value"], b["psnr"]["n"], results["twins"], results["baseline"]) == (20, 2, {"b": 2}, "a")
    for key in ("turned", "kept_cosine", "kept_share", "mode_fd", "mode_kl", "mode_shares"):
        assert b[key] == {"value": None, "reason": NO_MODES}
    assert b["frechet_distance"] == b["kid"] == {"value": None, "reason": NO_REFERENCE}
    assert "evaluate.modes" in results["modes"]["reason"]
    assert results["arms"]["a"]["psnr"]["reason"] == "a images have no other a twin"
    other = summary({"a": arms["a"], "b": arm("b", [7, 8], 2)}, compared=Comparison("a", "names"))
    assert other["arms"]["b"]["psnr"]["reason"] == "the arm's names are not those of the a arm"
    assert other["twins"] == {"b": 0}


def test_without_a_reference_turned_images_are_counted_and_not_judged():
    vanilla, peer = arm("vanilla", [*range(10)], 1), arm("peer", [*range(10)], 2)
    turned = summary({"vanilla": vanilla, "peer": peer}, None, MODES)["arms"]["peer"]["turned"]
    n = int((vanilla.modes != peer.modes).sum())
    assert 0 < n == turned["n"] and turned["share"]["value"] == n / 10
    assert turned["precision"] == turned["kid"] == {"value": None, "reason": NO_REFERENCE}


@pytest.mark.parametrize(
    "values, value, identical, other_size, reason",
    [
        ([10, 30, np.inf, np.nan], 20, 1, 1, ""),
        ([np.nan, np.nan], None, 0, 2, "each image has another size than its twin"),
        ([np.inf, np.nan], None, 1, 1, "each image is identical to its twin or has another size"),
    ],
)
def test_psnr_leaves_out_and_counts_twins_of_another_size(values, value, identical, other_size, reason):
    seeds = [*range(len(values))]
    peer = replace(arm("peer", seeds, 2), psnr=np.array(values, dtype=np.float64))
    entry = summary({"vanilla": arm("vanilla", seeds, 1), "peer": peer})["arms"]["peer"]["psnr"]
    assert (entry["value"], entry["identical"], entry["other_size"]) == (value, identical, other_size)
    assert entry.get("reason", "") == reason


def test_labels_are_compared_on_the_collected_images_whatever_the_reference():
    collected, other = arm("collected", [*range(20)], 3), arm("reference", [*range(50, 60)], 4)
    modes = MODES | {"labels": {str(i): int(i % 3 == 0) for i in range(20)}}
    arms = {"vanilla": arm("vanilla", [*range(70, 90)], 5)}
    plain, given = summary(arms, collected, modes), summary(arms, other, modes, collected=collected)
    assert plain["modes"] == given["modes"] and isinstance(given["modes"]["nmi"]["gender"], float)
    assert (plain["arms"]["vanilla"]["kid"]["reference_n"], given["arms"]["vanilla"]["kid"]["reference_n"]) == (20, 10)
    assert "not those that the modes" in summary(arms, other, MODES)["modes"]["ari"]["gender"]["reason"]


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


def planted(p: float, low: float = -0.2, high: float = -0.1) -> Number:
    return Number((low + high) / 2, low, high, blocks=20, more={"p": p})


def test_a_verdict_is_that_of_the_difference_and_not_of_the_two_intervals():
    overlapping = {"gender": {"fd_hard": Number(0.2, 0.1, 0.3)}, "mode_fd": Number(0.2, 0.1, 0.3)}

    def told(**differences):
        apart = {"gender": {"fd_hard": differences["gender"]}, "mode_fd": differences["modes"]}
        arms = {"vanilla": overlapping, "guided": {**overlapping, "difference": {"vanilla": apart}}}
        return verdicts(arms, "vanilla", ["gender"])["guided"]

    assert told(gender=planted(0.001), modes=planted(0.2)) == {"gender": "fairer", "modes": "not told apart"}
    assert told(gender=planted(0.001), modes=planted(0.001, 0.1, 0.2))["modes"] == "less fair"
    both = told(gender=planted(0.03), modes=planted(0.04))
    assert both == {"gender": "not told apart", "modes": "not told apart"}  # 2 x 0.03 is above 0.05
    del overlapping["mode_fd"]
    assert told(gender=planted(0.03), modes=missing("no modes")) == {"gender": "fairer"}  # one comparison alone


def test_unpaired_comparisons_are_corrected_for_too():
    def arm(value):
        return {"gender": {"fd_hard": Number(value, value - 0.1, value + 0.1)}, "mode_fd": missing("none")}

    def told(others):
        arms = {"vanilla": arm(0.5), "guided": arm(0.29), **{f"arm {i}": arm(0.5) for i in range(others)}}
        return verdicts(arms, "vanilla", ["gender"])["guided"]["gender"]

    assert told(0) == told(9) == "fairer"  # intervals that are apart by little, p = 0.0036
    assert told(19) == "not told apart"


def test_all_arms_of_a_table_are_corrected_for_together():
    def arm(p):
        own = {"gender": {"fd_hard": Number(0.2, 0.1, 0.3)}, "mode_fd": missing("none")}
        return own | {"difference": {"vanilla": {"gender": {"fd_hard": planted(p)}}}}

    arms = {"vanilla": arm(1.0)} | {f"arm {i}": arm(p) for i, p in enumerate([0.012, 0.02, 0.03, 0.9])}
    found = [it["gender"] for it in verdicts(arms, "vanilla", ["gender"]).values()]
    assert found == ["fairer", "not told apart", "not told apart", "not told apart"]
    assert [it["gender"] for it in verdicts(arms, "vanilla", ["gender"], level=0.9).values()] == ["fairer"] * 3 + [
        found[3]
    ]


def test_arms_of_other_seeds_are_told_apart_by_intervals_that_are_apart():
    vanilla, other = arm("vanilla", [*range(40)]), arm("other", [*range(50, 90)])
    vanilla.probabilities["gender"][:] = [0.9, 0.1]
    other.probabilities["gender"][:] = np.where(np.arange(40)[:, None] % 2, [0.9, 0.1], [0.1, 0.9])
    results = summary({"vanilla": vanilla, "other": other})
    assert results["arms"]["other"]["difference"]["vanilla"]["reason"] == OTHER_SEEDS
    assert results["verdicts"]["other"]["gender"] == "fairer"


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
