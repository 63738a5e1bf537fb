"""The verdict in one sentence: its numbers are those of the results, and it says what they do not tell."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from selfdebias.metrics.comparison import NO_MODES
from selfdebias.report.verdict import verdict
from tests.report.example import example_results
from tests.report.test_axes_page import results as of_axes
from tests.report.test_prompts import job_of

RESULTS = Path(__file__).parents[2] / "experiments" / "results"


@pytest.fixture(scope="module")
def job():
    return example_results(("vanilla", "guided", "random"))


def changed(results, **told):
    """A copy in which some verdicts on the guided arm are others."""
    found = copy.deepcopy(results)
    found["verdicts"]["guided"] |= told
    return found


def test_the_numbers_are_those_of_the_results(job):
    men = {arm: tree["shares"]["gender"]["man"] for arm, tree in job["arms"].items()}
    found, turned = verdict(changed(job, gender="fairer")), job["arms"]["guided"]["turned"]
    shares = f"{100 * men['vanilla']['value']:.0f}% -> {100 * men['guided']['value']:.0f}%"
    assert found.sentence == f"Men {shares}, target 50%; {turned['n']} of 32 images changed their mode."
    for arm in ("vanilla", "guided"):
        assert f"[{100 * men[arm]['low']:.0f}%, {100 * men[arm]['high']:.0f}%]" in found.intervals
    assert found.intervals.endswith("N = 32.")
    assert verdict(job, "random").sentence.endswith("0 of 32 images changed their mode.")


def test_committed_results_give_the_headline_of_the_study():
    fits = json.loads((RESULTS / "person_encoders.json").read_text())
    assert verdict(fits["captions, axes: transport, fit 0"]).sentence == (
        "Men 76% -> 52%, target 50%; 273 of 640 images changed their side of an axis; less even: age."
    )
    assert verdict(fits["captions, partition: transport"]).sentence == (
        "No detectable change in any share: men 76% -> 79%, target 50%; 61 of 256 images changed their mode."
    )


def with_men(results, share):
    """A copy with another share of men among the guided images."""
    found = copy.deepcopy(results)
    found["arms"]["guided"]["shares"]["gender"]["man"]["value"] = share
    return found


def test_what_is_not_told_apart_is_not_called_a_change(job):
    start, still = "men 75% -> 73%, target 50%; 8 of 32 images changed their mode", with_men(job, 0.73)
    same = dict.fromkeys(("gender", "tone", "age", "modes"), "not told apart")
    assert verdict(changed(still, **same)).sentence == f"No detectable change in any share: {start}."
    assert verdict(changed(still, **{**same, "age": "less fair"})).sentence == (
        f"No detectable change in gender: {start}; less even: age."
    )
    assert verdict(changed(still, gender="less fair")).sentence == f"Gender is less fair: {start}."
    assert verdict(changed(still, gender=None)).sentence == f"Whether gender changed cannot be told: {start}."


def test_what_came_nearer_to_the_target_on_few_images_is_said_to_be_unsure_and_not_unchanged(job):
    same = dict.fromkeys(("gender", "tone", "age", "modes"), "not told apart")
    assert verdict(changed(with_men(job, 0.53), **same)).sentence == (
        "Men 75% -> 53%, target 50%; 32 images are too few to be sure; 8 of 32 images changed their mode."
    )
    assert verdict(changed(with_men(job, 0.25), **same)).sentence.startswith("No detectable change")  # as far as before


def test_another_attribute_that_became_less_even_is_named(job):
    found = changed(job, gender="fairer", tone="not told apart", age="not told apart")
    for rise, end in ((0.05, "mode."), (0.15, "mode; perhaps less even, not detectably: age.")):
        before = found["arms"]["vanilla"]["age"]["fd_hard"]["value"]
        found["arms"]["guided"]["age"]["fd_hard"]["value"] = before + rise
        assert verdict(found).sentence.endswith(f"8 of 32 images changed their {end}")
    assert verdict(changed(found, age=None)).sentence.endswith("mode.")  # one batch, of which nothing can be told
    assert verdict(changed(found, tone="less fair")).sentence.endswith("mode; less even: tone.")
    found["modes"]["target"] = [0.4, 0.6]
    assert "less even" not in verdict(found).sentence  # nothing was to be even


def test_an_arm_that_chose_its_seeds_is_not_said_to_have_changed_images():
    study = json.loads((RESULTS / "person_choosing.json").read_text())["attributes, partition"]
    assert verdict(study, "resample").sentence == (
        "Men 78% -> 52%, target 50%; images of other seeds than vanilla's, which arm resample chose; less even: age."
    )


def test_modes_where_no_attribute_is_judged_or_the_target_is_not_even(job):
    for change in ("shares", "target"):
        found = changed(job, modes="fairer")
        if change == "shares":
            found["arms"] = {arm: {**tree, "shares": {}} for arm, tree in found["arms"].items()}
        else:
            found["modes"]["target"] = [0.4, 0.6]
        target = {"shares": "50%", "target": "40%"}[change]
        assert verdict(found).sentence == (
            f"Mode 0 of 2 75% -> 50%, target {target}; 8 of 32 images changed their mode."
        )


def test_the_balanced_axis_that_was_farthest_from_its_target():
    found = of_axes()
    found["arms"] = {
        arm: {**tree, "shares": {}, "turned": {"n": 4, "share": {"n": 64}}} for arm, tree in found["arms"].items()
    }
    end = "target 50%; 4 of 64 images changed their side of an axis."
    assert verdict(found).sentence == f"Side 0 of axis 0 75% -> 75%, {end}"
    found["modes"]["balanced"] = [1]
    assert verdict(found).sentence == f"Side 0 of axis 1 55% -> 55%, {end}"


def test_one_arm_has_nothing_to_compare_with_and_one_mode_nothing_to_balance(job):
    alone = {**job, "arms": {"vanilla": job["arms"]["vanilla"]}}
    assert verdict(alone).sentence == "Men 75%, target 50%; 32 images, with none to compare them with."
    one = {**job, "modes": {**job["modes"], "k": 1}}
    assert verdict(one).sentence.startswith("One mode was found, so nothing was balanced: men 75%")


def test_folders_have_the_names_of_their_arms_and_no_modes_are_no_change(job):
    found = {**changed(job, gender="fairer"), "sources": {}}
    found["arms"]["guided"]["turned"] = {"value": None, "reason": NO_MODES}
    assert (
        verdict(found).sentence
        == "Men 75% in vanilla, 50% in guided, target 50%; which images changed is not known without modes."
    )


def test_over_prompts_it_speaks_of_means_and_counts(tmp_path):
    results = job_of(tmp_path)
    before, after = (
        results["over_prompts"][arm]["gender"]["deviation_ratio"]["value"] for arm in ("vanilla", "guided")
    )
    turned = [row["arms"]["guided"]["turned"] for row in results["rows"].values()]
    images = sum(it["share"]["n"] for it in turned)
    assert f"imbalance of gender {100 * before:.0f}% -> {100 * after:.0f}%" in verdict(results).sentence.lower()
    end = f"; {sum(it['n'] for it in turned)} of {images} images changed their mode."
    few = "; 32 images per prompt are too few to be sure of any single prompt"
    assert verdict(results).sentence.endswith(f"one class alone){few}{end}")
    still = copy.deepcopy(results)
    still["over_prompts"]["guided"]["gender"]["deviation_ratio"]["value"] = before
    assert verdict(still).sentence.startswith("No detectable change in any prompt: ")
    for row in still["rows"].values():
        for arm in row["arms"].values():
            arm["difference"] = {}
            for entry in arm["gender"].values():
                entry |= {"low": None, "high": None}
    told = verdict(still).sentence
    assert (
        told.startswith("Whether a prompt became fairer cannot be told (no intervals): ") and "less fair in" not in told
    )
    assert verdict(still).sentence.endswith(f"one class alone){end}")
    planted = {"value": -0.1, "low": -0.2, "high": -0.1, "p": 0.001}
    results["rows"]["farmer"]["arms"]["guided"]["difference"]["vanilla"]["gender"]["fd_hard"] = planted
    assert verdict(results).sentence.endswith(f"fairer in 1 and less fair in 0 of 3 prompts{end}")


def test_without_an_interval_the_reason_is_said(job):
    found = copy.deepcopy(job)
    found["arms"]["guided"]["shares"]["gender"]["man"] |= {
        "low": None,
        "high": None,
        "reason": "no interval: one batch",
    }
    assert verdict(found).intervals.endswith("-> 50% (no interval: one batch); N = 32.")
