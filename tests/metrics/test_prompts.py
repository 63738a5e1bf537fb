"""Means over prompts are those of a naive loop, and a number that is null is left out and counted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, ttest_ind, ttest_rel

from selfdebias.metrics.intervals import share_interval
from selfdebias.metrics.prompts import fair_mean_quantile, over_prompts, paired_over_prompts
from tests.report.example import example_results


@pytest.fixture
def rows():
    """Three jobs as they are read back from their files, whose keys are sorted."""
    made = {f"p{n}": example_results(n=n) for n in (16, 24, 32)}
    return json.loads(json.dumps(made, sort_keys=True))


def naive(rows, arm, *path):
    values = []
    for row in rows.values():
        entry = row["arms"][arm]
        for key in path:
            entry = entry[key]
        values.append(entry["value"])
    return {"value": pytest.approx(sum(values) / len(values)), "rows": len(values)}


def short(entry):
    """An entry without its bounds and floor."""
    return {key: entry[key] for key in ("value", "rows", "class") if key in entry}


def test_means_are_those_of_a_naive_loop(rows):
    means = over_prompts(rows)
    assert set(means) == {"vanilla", "guided"}
    for arm in means:
        for attribute in ("gender", "tone", "age"):
            for key in ("deviation_ratio", "fd_hard"):
                assert short(means[arm][attribute][key]) == naive(rows, arm, attribute, key)
        share = naive(rows, arm, "shares", "gender", "man") | {"class": "man"}
        assert short(means[arm]["gender"]["share"]) == share
        assert "share" not in means[arm]["tone"]  # five classes
    assert short(means["guided"]["kept_cosine"]) == naive(rows, "guided", "kept_cosine")
    assert (means["vanilla"]["kept_cosine"]["value"], means["vanilla"]["kept_cosine"]["rows"]) == (None, 0)


def test_the_first_class_is_the_judges_not_the_alphabets(rows):
    for row in rows.values():
        row["judge"]["classes"]["gender"] = ["woman", "man"]
    share = over_prompts(rows)["guided"]["gender"]["share"]
    assert short(share) == naive(rows, "guided", "shares", "gender", "woman") | {"class": "woman"}


def test_a_null_is_left_out_and_counted(rows):
    rows["p16"]["arms"]["guided"]["gender"]["fd_hard"] = {"value": None, "reason": "no image", "n": 0}
    entry = over_prompts(rows)["guided"]["gender"]["fd_hard"]
    assert short(entry) == naive({name: rows[name] for name in ("p24", "p32")}, "guided", "gender", "fd_hard")
    for row in rows.values():
        row["arms"]["guided"]["kept_cosine"] = {"value": None, "reason": "no twin"}
    none = over_prompts(rows)["guided"]["kept_cosine"]
    assert (none["value"], none["rows"]) == (None, 0) and none["reason"]


def test_a_prompt_without_an_arm_is_left_out_of_its_means(rows):
    del rows["p16"]["arms"]["guided"]
    means = over_prompts(rows)
    assert means["guided"]["gender"]["deviation_ratio"]["rows"] == 2
    assert means["vanilla"]["gender"]["deviation_ratio"]["rows"] == 3


def test_differences_over_prompts_have_the_level_of_their_prompts(rows):
    def width(level):
        found = over_prompts({name: it | {"level": level} for name, it in rows.items()})
        own = found["guided"]["difference"]["vanilla"]["gender"]
        return [own[key]["high"] - own[key]["low"] for key in ("fd_hard", "probability_of_improvement")]

    assert all(0 < narrow < wide for narrow, wide in zip(width(0.5), width(0.95), strict=True))


def row(value, low, high, at_floor=False, floor=0.05):
    entry = {"value": value, "low": low, "high": high, "at_floor": at_floor, "floor": floor}
    arm = {"gender": {"deviation_ratio": entry, "fd_hard": {"value": None, "reason": "no image"}}}
    return {"prompts": {"attributes": ["gender"]}, "judge": {"classes": {}}, "arms": {"vanilla": arm}}


def test_bounds_of_a_mean_add_as_squares_on_either_side():
    mean = over_prompts({"a": row(0.5, 0.2, 0.6), "b": row(0.7, 0.3, 0.7)})["vanilla"]["gender"]["deviation_ratio"]
    assert mean == pytest.approx({"value": 0.6, "rows": 2, "low": 0.6 - 0.5 / 2, "high": 0.6 + 0.1 / 2, "floor": 0.05})


def test_a_mean_has_no_bounds_where_a_prompt_has_none():
    rows = {"a": row(0.05, 0.0, 0.2), "b": row(0.5, None, None)}
    assert "low" not in over_prompts(rows)["vanilla"]["gender"]["deviation_ratio"]


@pytest.mark.parametrize(("value", "at_floor"), [(0.04, True), (0.4, False)])
def test_a_mean_is_at_the_floor_where_a_fair_sampler_comes_to_it_whatever_its_prompts_are(value, at_floor):
    rows = {name: row(value, 0.0, 0.9, at_floor=True) for name in "abcdefgh"}  # of few images, none is told from fair
    for own in rows.values():
        own["judge"]["classes"] = {"gender": ["man", "woman"]}
        own["arms"]["vanilla"]["gender"]["deviation_ratio"]["n"] = 64
    mean = over_prompts(rows)["vanilla"]["gender"]["deviation_ratio"]
    assert mean["at_floor"] is at_floor and mean["floor_high"] == pytest.approx(0.145, abs=0.01)


def test_intervals_of_means_cover():
    generator, shares, hits = np.random.default_rng(0), np.linspace(0.1, 0.9, 9), 0
    for _ in range(200):
        rows = {}
        for i, share in enumerate(shares):
            counts = generator.binomial(32, share, 4)
            found = share_interval(np.stack([counts, np.full(4, 32)], 1))
            rows[str(i)] = row(counts.sum() / 128, found.low, found.high)
        mean = over_prompts(rows)["vanilla"]["gender"]["deviation_ratio"]
        hits += mean["low"] <= shares.mean() <= mean["high"]
    assert hits / 200 >= 0.93


def test_the_floor_of_a_mean_is_what_fair_samplers_come_to(rows):
    mean = over_prompts(rows)["guided"]["tone"]["deviation_ratio"]
    draw = np.random.default_rng(1)
    fair = [
        np.mean([np.abs(draw.multinomial(n, [0.2] * 5) / n - 0.2).max() / 0.8 for n in (16, 24, 32)])
        for _ in range(4000)
    ]
    assert mean["floor"] == pytest.approx(np.mean(fair), abs=0.005)
    assert mean["floor_high"] == pytest.approx(np.quantile(fair, 0.95), abs=0.01)
    assert mean["floor_n"] == [16, 32]
    for row in rows.values():  # of before, or of a judge that is not described
        del row["judge"]
    assert (
        "floor_high"
        not in over_prompts({k: {**v, "judge": {"classes": {}}} for k, v in rows.items()})["guided"]["tone"]["fd_hard"]
    )


def test_the_floor_of_an_intersection_counts_its_pairs_of_classes(rows):
    for row in rows.values():
        row["prompts"]["attributes"] = ["gender x tone"]
        for arm in row["arms"].values():
            arm["gender x tone"] = arm["tone"]
    mean = over_prompts(rows)["guided"]["gender x tone"]["fd_hard"]
    assert mean["floor_high"] == fair_mean_quantile("fd_hard", 10, (16, 24, 32))


def planted(fd, runs=None):
    """A row of one attribute: by arm its `fd_hard` and `deviation_ratio`, and those of its runs."""
    arms = {}
    for arm, value in fd.items():
        own = {"fd_hard": {"value": value}, "deviation_ratio": {"value": value}}
        arms[arm] = {"gender": own, "by_run": {"gender": {"fd_hard": (runs or {}).get(arm, [value])}}}
    return {"arms": arms}


def paired(rows, arm="guided", other="vanilla"):
    return paired_over_prompts({str(place): row for place, row in enumerate(rows)}, arm, other, "gender")


def test_the_mean_difference_over_prompts_is_bounded_as_a_paired_t_test_bounds_it():
    generator = np.random.default_rng(0)
    easy = generator.random(20)
    x, y = easy, easy + 0.1 + 0.05 * generator.normal(size=20)
    found = paired([planted({"guided": a, "vanilla": b}) for a, b in zip(x, y, strict=True)])["deviation_ratio"]
    low, high = ttest_rel(x, y).confidence_interval()
    assert (found.value, found.low, found.high) == pytest.approx((x.mean() - y.mean(), low, high), abs=0.005)
    assert found.high < 0 and found.more["p"] < 1e-4 and found.more["rows"] == 20
    assert ttest_rel(x, y).pvalue < 1e-4 < ttest_ind(x, y).pvalue  # unpaired, prompts differ by far more


def test_the_probability_of_improvement_is_that_of_all_pairs_of_runs_by_prompt():
    fd = {"guided": 0.0, "vanilla": 0.0}
    rows = [
        planted(fd, {"guided": [0.1, 0.2, 0.3], "vanilla": [0.2, 0.25]}),  # of 6 pairs 3 are smaller, and one is a tie
        planted(fd, {"guided": [0.1], "vanilla": [0.5]}),
        planted(fd, {"guided": [0.6, None], "vanilla": [0.5]}),
    ]
    number = paired(rows)["probability_of_improvement"]
    assert number.value == pytest.approx((3.5 / 6 + 1 + 0) / 3)
    x, y = [0.1, 0.2, 0.3], [0.2, 0.25]
    assert 1 - mannwhitneyu(x, y).statistic / 6 == pytest.approx(3.5 / 6)
    other = paired(rows, "vanilla", "guided")["probability_of_improvement"]
    assert number.value + other.value == pytest.approx(1)


def test_all_prompts_better_leaves_open_what_twenty_prompts_do():
    number = paired([planted({"guided": 0.1, "vanilla": 0.4})] * 20)["probability_of_improvement"]
    assert number.value == number.high == 1 and 0.8 < number.low < 0.9
    assert paired([planted({"guided": 0.1, "vanilla": 0.1})] * 20)["probability_of_improvement"].value == 0.5


def test_prompts_without_the_number_in_either_arm_are_left_out_and_one_prompt_has_no_interval():
    rows = [planted({"guided": 0.1, "vanilla": 0.4}), planted({"guided": None, "vanilla": 0.4}), {"arms": {}}]
    for number in paired(rows).values():
        assert number.more["rows"] == 1 and number.low is None and number.reason == "no interval: one prompt"
    assert {it.reason for it in paired(rows[1:]).values()} == {"no prompt has this number"}


def test_further_arms_are_held_against_the_guided_one_too(rows):
    for row in rows.values():
        row["arms"]["peer"] = row["arms"]["vanilla"]
    means = over_prompts(rows)
    assert [*means["guided"]["difference"]] == ["vanilla"] and [*means["peer"]["difference"]] == ["vanilla", "guided"]
    assert "difference" not in means["vanilla"]
    for arm, other in (("guided", "vanilla"), ("peer", "guided")):
        apart = means[arm]["difference"][other]["gender"]["fd_hard"]["value"]
        assert apart == pytest.approx(
            means[arm]["gender"]["fd_hard"]["value"] - means[other]["gender"]["fd_hard"]["value"]
        )
    assert means["peer"]["difference"]["vanilla"]["gender"]["fd_hard"]["value"] == 0
