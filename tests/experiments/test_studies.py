"""Each study can be asked for: every variant composes, its prompts, modes and stages go together, and its page is its numbers'."""

from __future__ import annotations

import copy
import importlib
import json
import re
from pathlib import Path

import pytest
import torch

from experiments import (
    axis_factors,
    dit_blocks,
    dit_occupation_levers,
    encoders,
    occupations,
    occupations_axes,
    occupations_choosing,
    occupations_dit,
    person_choosing,
    person_dit,
    pooled,
    sheets,
)
from experiments.pooled import RESULTS
from experiments.study import load_study, main, names, read_study
from experiments.variants import Study, run_variants
from selfdebias.config.compose import load
from selfdebias.encoders import ClipEncoder
from selfdebias.jobs.run import make_plan

MODULES = [importlib.import_module(f"experiments.{file.stem}") for file in sorted(RESULTS.parent.glob("[a-z]*.py"))]
IN_PYTHON = [module.STUDY for module in MODULES if isinstance(getattr(module, "STUDY", None), Study)]
ALL = {study.name: study for study in [*map(load_study, names()), *IN_PYTHON]}
STUDIES = {study.name: {name: [*study.common, *it] for name, it in study.variants.items()} for study in ALL.values()}
BY_HAND = {
    "occupations": {name: [*occupations.COMMON, occupations.STAGES, *it] for name, it in occupations.VARIANTS.items()},
    "dit_blocks": dit_blocks.VARIANTS,
    "dit_occupation_levers": dit_occupation_levers.VARIANTS,
    "occupations_axes": occupations_axes.VARIANTS,
    "occupations_dit": occupations_dit.VARIANTS,
}


CHOOSING = {
    f"{study.NAME}, {part}": arms
    for study in (occupations_choosing, person_choosing, person_dit)
    for part, arms in study.SETTINGS.items()
}  # slow, since they have many arms


@pytest.mark.parametrize("name", [*STUDIES, *BY_HAND, *(pytest.param(it, marks=pytest.mark.slow) for it in CHOOSING)])
def test_every_variant_of_a_study_composes(name):
    planned = {}
    for variant, overrides in {**STUDIES, **BY_HAND, **CHOOSING}[name].items():
        config = load([*pooled.with_previous_defaults(overrides), "logger=none", "generate.seed=1"])
        weights = {
            "encoder": str(config["encoder"].get("pretrained"))
        }  # two encoders with one name in keys have other weights
        steps = make_plan(config, weights)
        planned[variant] = tuple(sorted(step.key for step in steps.values()))
    assert len(set(planned.values())) == len(planned)  # no two rows are the same job


def test_every_study_with_variants_is_looked_at():
    varied = {file.stem for file in RESULTS.parent.glob("*.py") if "\nVARIANTS = {" in file.read_text()}
    assert len(varied) > 3 and varied <= {*STUDIES, *BY_HAND}


@pytest.mark.parametrize("name", ALL)
def test_each_page_is_what_its_study_makes_of_its_numbers(name):
    study, found = ALL[name], json.loads((RESULTS / f"{name}.json").read_text())
    assert found.keys() <= study.variants.keys()
    every = {variant: found[variant] for variant in study.variants if variant in found}  # whose order a JSON file loses
    assert study.page(every) + "\n" == (RESULTS / f"{name}.md").read_text()


IN_PARTS = (
    axis_factors,
    occupations,
    occupations_choosing,
    occupations_dit,
    dit_blocks,
    dit_occupation_levers,
    person_choosing,
    person_dit,
)


@pytest.mark.parametrize("study", IN_PARTS)
def test_each_page_of_a_study_in_python_is_what_it_makes_of_its_numbers(study):
    name = study.__name__.rpartition(".")[2]
    every = json.loads((RESULTS / f"{name}.json").read_text())
    order = getattr(study, "VARIANTS", None) or study.SETTINGS  # which a JSON file loses
    assert (
        study.page({it: every[it] for it in order if it in every}).rstrip() + "\n"
        == (RESULTS / f"{name}.md").read_text()
    )


@pytest.mark.parametrize("name", names())
def test_a_study_has_no_key_but_those_that_are_read_and_names_its_own_variants(name):
    content = read_study(name)
    assert content.keys() <= set(re.findall(r"(?<=[- ;])\w+(?=[:,])", load_study.__doc__))
    assert {*content.get("rows_of", {}), *content.get("seeds_of", {})} <= content["variants"].keys()
    assert all(content[key].strip() for key in ("question", "claim", "title"))


def test_a_study_that_is_not_there_is_refused_by_name():
    with pytest.raises(SystemExit, match="`nope` must be one of axes_alone, "):
        main(["nope"])


@pytest.mark.parametrize("key", ["columns", "notes"])
def test_a_column_or_note_that_is_not_there_is_refused_with_those_that_are(key, tmp_path, monkeypatch):
    content = {
        "question": "?",
        "claim": "!",
        "title": "t",
        "seeds": [1],
        "variants": {"a": "guidance=none"},
        key: ["nope"],
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(content))
    monkeypatch.setattr("experiments.study.FOLDER", tmp_path)
    with pytest.raises(SystemExit, match=f"`{key}` of the study mine must be some of .*, got nope"):
        load_study("mine")


def test_the_help_names_all_studies(capsys):
    main(["--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in names())


def test_rows_that_are_not_asked_for_are_kept_while_their_configuration_is_the_same(tmp_path, monkeypatch):
    ran = []

    def run(overrides, seeds):
        ran.append(list(overrides))
        return {"config_hashes": pooled.hashes_of(overrides, seeds), "run": len(ran)}

    monkeypatch.setattr(pooled, "RESULTS", tmp_path)
    one, two = ["generate.n_images=2"], ["generate.n_images=3"]
    page, seeds = (lambda every: "\n".join(every)), {"one": (1, 2), "two": (1, 2)}
    run_variants("s", {"one": one, "two": two}, ["one", "two"], seeds, page, run)
    run_variants("s", {"one": one, "two": two}, ["two"], seeds, page, run)
    assert ran == [one, two, two]
    assert {name: it["run"] for name, it in json.loads((tmp_path / "s.json").read_text()).items()} == {
        "one": 1,
        "two": 3,
    }
    assert (tmp_path / "s.md").read_text() == "one\ntwo\n"
    run_variants("s", {"one": ["generate.n_images=4"], "two": two}, ["two"], seeds, page, run)
    assert (tmp_path / "s.md").read_text() == "two\n"  # what was measured otherwise is no row of this study
    run_variants("s", {"two": two, "one": one}, ["one"], {"one": (1, 2), "two": (1, 3)}, page, run)
    assert (tmp_path / "s.md").read_text() == "one\n"


def test_rows_of_another_process_and_of_an_earlier_run_outlast_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(pooled, "RESULTS", tmp_path)
    variants = {name: [f"generate.n_images={n}"] for n, name in enumerate(("one", "two", "three"), 2)}
    seeds = dict.fromkeys(variants, (1,))

    def measured(overrides, seeds):
        return {"config_hashes": pooled.hashes_of(overrides, seeds), "by": "this run"}

    def run(overrides, seeds):
        if (
            overrides == variants["one"]
        ):  # while it runs, another process measures what it will come to, and what it will not
            others = {it: {**measured(variants[it], (1,)), "by": "other"} for it in ("two", "three")}
            (tmp_path / "s.json").write_text(json.dumps(others))
            return measured(overrides, seeds)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_variants("s", variants, ["one", "two"], seeds, "\n".join, run)
    found = {name: it["by"] for name, it in json.loads((tmp_path / "s.json").read_text()).items()}
    assert found == {"one": "this run", "two": "other", "three": "other"}
    assert (tmp_path / "s.md").read_text() == "one\ntwo\nthree\n"


def test_a_page_says_which_seeds_are_of_which_rows():
    from experiments import person_encoders

    every = json.loads((RESULTS / "person_encoders.json").read_text())
    said = person_encoders.STUDY.page(every)
    for results in every.values():
        seeds = ", ".join(map(str, results["seeds"]["generate"]))
        fd = results["arms"]["vanilla"]["gender"]["fd_hard"]
        assert f"{seeds} of the rows with N = {fd['n']} (floor {fd['floor']:.3f})" in said
    one = {name: it for name, it in every.items() if len(it["seeds"]["generate"]) == 2}
    assert " Seeds: " not in person_encoders.STUDY.page(
        one
    ) and "generate seeds 711, 712\n" in person_encoders.STUDY.page(one)


def test_an_untrained_clip_has_the_form_of_the_trained_one_and_other_weights(tmp_path):
    folder = encoders.make_untrained(tmp_path / "clip")
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    trained, untrained = ClipEncoder("shipped:emoji_clip")(images), ClipEncoder(str(folder))(images)
    assert untrained.shape == trained.shape and not torch.allclose(untrained, trained, atol=0.1)
    assert torch.allclose(untrained.norm(dim=1), torch.ones(3), atol=1e-5)
    again = encoders.make_untrained(tmp_path / "again")
    assert Path(again / "model.safetensors").read_bytes() == Path(folder / "model.safetensors").read_bytes()


def test_a_sheet_leaves_out_occupations_that_did_not_turn():
    pairs = {"a cook": torch.zeros(4, 3, 8, 8), "a judge": torch.zeros(0, 3, 8, 8)}
    assert sheets.draw(pairs).size == sheets.draw({"a cook": pairs["a cook"]}).size


def test_arms_measured_later_stand_beside_those_of_before_and_these_are_held_against_the_default_of_now():
    before = json.loads((RESULTS / "occupations_choosing.json").read_text())["attributes, partition"]
    arms = ("vanilla", "guided", "transport, then resample")
    rows = {
        row: {**it, "arms": {arm: it["arms"][arm] for arm in arms}}
        for row, it in copy.deepcopy(pooled.picked(before["rows"], occupations_choosing.KEPT)).items()
    }
    own = {
        key: {arm: before[key][arm] for arm in arms}
        for key in ("over_prompts", "rows_per_image", "edited", "rows_to_fit")
    }
    now = {**before, **own, "rows": rows, "jobs": {arm: [f"later {arm}"] for arm in arms}}
    rows["doctor"]["arms"][arms[-1]]["shares"] = "new"

    def apart(results, arm="cads", key="deviation_ratio"):
        return results["over_prompts"][arm]["difference"]["guided"]["gender"][key]

    found = occupations_choosing.joined(before, now)
    assert found["over_prompts"] == before["over_prompts"]
    assert {f"later {arm}" for arm in arms} <= {*found["config_hashes"]}
    assert found["jobs"]["cads"] == before["jobs"]["cads"] and found["jobs"].keys() == before["jobs"].keys()
    assert not {*before["jobs"]["transport, then resample"]} & {*found["config_hashes"]}
    assert found["rows"]["doctor"]["arms"].keys() == before["rows"]["doctor"]["arms"].keys()
    assert found["rows"]["doctor"]["arms"][arms[-1]]["shares"] == "new"

    default = rows["doctor"]["arms"]["guided"]
    default["gender"]["deviation_ratio"]["value"] += 0.2  # on one of 20 prompts
    man = default["shares"]["gender"]["man"]
    man["value"] += 1 / man["n"]  # an image at the border, on another machine
    assert apart(occupations_choosing.joined(before, now)) == apart(before)
    man["value"] += 1 / man["n"]
    found = occupations_choosing.joined(before, now)
    assert apart(found)["value"] == pytest.approx(apart(before)["value"] - 0.01)
    vanilla = rows["doctor"]["arms"]["vanilla"]["shares"]["gender"]["man"]
    vanilla["value"] -= 1 / vanilla["n"]  # an image at the border, on another machine
    occupations_choosing.joined(before, now)
    vanilla["value"] -= 1 / vanilla["n"]
    with pytest.raises(ValueError, match="vanilla came out otherwise on doctor"):
        occupations_choosing.joined(before, now)


def test_an_arm_of_before_has_a_probability_of_improvement_where_its_runs_were_kept():
    runs = {"cads": [0.1, 0.3], "dc": None, "guided": [0.2, 0.2]}
    rows = {
        row: {
            "arms": {
                arm: {"gender": {"fd_hard": {"value": 0.2}}} | ({"by_run": {"gender": {"fd_hard": own}}} if own else {})
                for arm, own in runs.items()
            }
        }
        for row in ("cook", "nurse")
    }
    results = {"row_names": ["nurse", "cook"], "prompts": {"attributes": ["gender", "tone"]}}
    found = occupations_choosing.apart_from_default(rows, "cads", results)
    assert found.keys() == {"gender"}  # numbers by tone are not kept
    assert found["gender"]["probability_of_improvement"]["value"] == 0.5
    assert "probability_of_improvement" not in occupations_choosing.apart_from_default(rows, "dc", results)["gender"]


def test_a_word_that_is_in_no_name_is_refused_before_anything_runs(monkeypatch):
    from experiments import person_choosing

    monkeypatch.setattr(person_choosing, "measure", lambda *_: pytest.fail("ran"))
    with pytest.raises(SystemExit, match=r"`--help` must be in the name of a part: captions\."):
        person_choosing.run_parts("any", {"captions": {"select": []}}, {"captions": (1,)}, str, ["--help"])


def test_the_verdicts_of_a_part_name_each_arm_once_for_each_attribute():
    from experiments.person_choosing import verdicts

    of_arms = {"a": {"age": "less fair"}, "b": {"age": "not told apart"}, "c": {"age": "less fair"}, "d": {"age": None}}
    line = verdicts("age", of_arms, ["a", "b", "c", "d"], {"a": "the first"})
    assert line == "- age: *less fair*: the first; c. *no detectable difference*: b. *cannot be told*: d."


def test_a_guided_arm_is_not_held_against_prompts_that_come_one_class_after_the_other():
    from experiments.columns import row

    apart = {"gender": {"fd_hard": {"value": -0.1, "low": -0.2, "high": 0.0}}}
    arm = {"difference": {"guided": apart, "vanilla": apart}}
    results = {"arms": {"attribute_prompts": arm, "resample": arm}}
    found = [row("x", results, name, ("less_vanilla", "less_default")) for name in results["arms"]]
    assert found == ["| x | -0.100 [-0.200, 0.000] | n/a |", "| x | -0.100 [-0.200, 0.000] | -0.100 [-0.200, 0.000] |"]
