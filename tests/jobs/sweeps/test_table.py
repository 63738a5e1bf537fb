"""The table of a sweep: pooled rows are what one evaluation of all their images gives, and each file says the same."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from selfdebias.jobs.sweeps.columns import Row, number_columns, rows_of, verdicts_of
from selfdebias.jobs.sweeps.finished import differing, read_source
from selfdebias.jobs.sweeps.pooling import Group, grouped, pool_jobs
from selfdebias.jobs.sweeps.record import FAILED, JobState, SweepFolder
from selfdebias.main import main
from selfdebias.metrics.arms import load_arm, pool, save_arm
from selfdebias.metrics.number import Number
from selfdebias.report.verdict import highest_level
from selfdebias.report.wording import AT_FLOOR, Notes
from selfdebias.storage.atomic import write_json
from tests.jobs.sweeps.world import REFERENCE, arms_of_job, config_of, measured, read, write_job, write_sweep
from tests.report.example import example_arm

STRENGTHS = {3.0: 0.65, 6.0: 0.5}  # share of men by strength


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("runs"), STRENGTHS)


@pytest.fixture
def made(sweep, tmp_path, capsys):
    """A copy of the sweep with its table; gives its folder, and what was printed."""
    shutil.copytree(sweep.root, tmp_path / "runs")
    place = tmp_path / "runs" / "sweeps" / sweep.path.name
    assert main(["stages=[table]", f"table.root={place}"]) == 0
    return place, capsys.readouterr().out


def lines_of(place, **wanted):
    with (place / "table.csv").open() as file:
        return [line for line in csv.DictReader(file) if all(line[key] == value for key, value in wanted.items())]


def test_jobs_that_differ_in_the_seed_are_measured_as_one(sweep):
    pooled = pool_jobs([sweep.root / "jobs" / name for name in ("h0", "h1")], sweep.root)
    runs = [arms_of_job(seed, STRENGTHS[3.0]) for seed in (1, 2)]
    expected = measured({name: pool([run[name] for run in runs]) for name in runs[0]}, [1, 2])
    for name, arm in expected["arms"].items():
        for measure in ("fd_hard", "deviation_ratio"):
            assert pooled["arms"][name]["gender"][measure] == pytest.approx(arm["gender"][measure]), (name, measure)
    assert pooled["arms"]["guided"]["gender"]["fd_hard"]["n"] == 64 and pooled["verdicts"] == expected["verdicts"]
    assert pooled["seeds"] == {"collect": 0, "generate": [1, 2]} and pooled["modes"] == expected["modes"]
    assert pooled["cost"]["seconds_per_image"] == {"vanilla": 0.2, "guided": pytest.approx(0.3)}


def test_pooled_jobs_have_quality_by_features_pairs_and_composition(sweep):
    pooled = pool_jobs([sweep.root / "jobs" / name for name in ("h0", "h1")], sweep.root)
    runs = [arms_of_job(seed, STRENGTHS[3.0]) for seed in (1, 2)]
    expected = measured({name: pool([run[name] for run in runs]) for name in runs[0]}, [1, 2])["arms"]["guided"]
    guided = pooled["arms"]["guided"]
    assert list(guided["quality"]) == ["encoder", "judge", "pixels"]
    for name in ("judge", "pixels"):  # the encoder's own were saved in float32
        assert guided["quality"][name] == expected["quality"][name]
    assert guided["quality"]["pixels"]["kept"]["n"] + guided["turned"]["n"] == 64
    assert guided["paired_agreement"] == expected["paired_agreement"]
    assert guided["composition"] == expected["composition"]
    assert guided["composition"]["tone"]["predicted_fd_hard"]["high"] > 0
    assert pooled["features"] == {"name": "encoder", "dim": 8} and "fid" not in guided


def test_jobs_of_before_are_pooled_without_what_they_did_not_save(sweep, tmp_path):
    shutil.copytree(sweep.root, tmp_path / "runs")
    root = tmp_path / "runs"
    for arm in ("vanilla", "guided", "reference"):
        folder = root / "stages" / "evaluate" / "h0"
        save_arm(folder, replace(load_arm(folder, arm), spaces={}))
    results = read(root / "jobs" / "h0" / "results.json")
    results["features"] = None
    del results["spaces"]
    write_json(root / "jobs" / "h0" / "results.json", results)
    pooled = pool_jobs([root / "jobs" / name for name in ("h0", "h1")], root)
    assert list(pooled["arms"]["guided"]["quality"]) == ["encoder"]
    assert pooled["features"] == {"name": "encoder", "dim": 8} and pooled["arms"]["guided"]["composition"]


def test_kid_is_called_after_its_features_where_all_jobs_have_the_same(sweep):
    rows = rows_of(grouped(read_source(sweep.path).jobs, ["generate.seed"]))
    titles = [column.title for column in number_columns(rows, "mode_fd", Notes(), False)]
    assert "KID (encoder, 8-d)" in titles
    rows[-1].group.results["features"]["name"] = "another"
    assert "KID" in [column.title for column in number_columns(rows, "mode_fd", Notes(), False)]


def test_the_reference_images_of_another_job_may_take_the_place_of_their_own(sweep, tmp_path):
    shutil.copytree(sweep.root, tmp_path / "runs")
    root, other = tmp_path / "runs", example_arm("reference", 0.5, 40, seed=7)
    save_arm(root / "stages" / "evaluate" / "h2", replace(other, modes=1 - other.modes))  # by the modes of its own job
    centers = torch.eye(2, other.e.shape[1])
    save_file({"centers": centers}, root / "stages" / "discover" / "shared" / "centers.safetensors")
    jobs = [root / "jobs" / name for name in ("h0", "h1")]
    own, held = pool_jobs(jobs, root), pool_jobs(jobs, root, root / "jobs" / "h2")
    assert held["arms"]["guided"]["kid"]["value"] != own["arms"]["guided"]["kid"]["value"]
    assert held["arms"]["guided"]["gender"]["fd_hard"] == own["arms"]["guided"]["gender"]["fd_hard"]
    assert (
        held["arms"]["vanilla"]["within_modes"]["precision"]["value"] > 0.5
    )  # in the modes of these jobs, not of that one
    assert held["modes"] == own["modes"]  # as found on their own images


def test_guided_images_of_other_jobs_are_further_arms_with_their_differences(sweep, tmp_path):
    shutil.copytree(sweep.root, tmp_path / "runs")
    root, (width, modes) = tmp_path / "runs", (REFERENCE.e.shape[1], 2)
    save_file({"centers": torch.eye(modes, width)}, root / "stages" / "discover" / "shared" / "centers.safetensors")
    jobs, others = ([root / "jobs" / name for name in names] for names in (("h0", "h1"), ("h2", "h3")))
    own, held, alone = (
        pool_jobs(jobs, root),
        pool_jobs(jobs, root, beside={"stronger": others}),
        pool_jobs(others, root),
    )
    assert {*held["arms"]} == {"guided", "vanilla", "stronger"}
    stronger = held["arms"]["stronger"]
    assert stronger["gender"] == alone["arms"]["guided"]["gender"]
    assert stronger["difference"]["vanilla"]["gender"] == alone["arms"]["guided"]["difference"]["vanilla"]["gender"]
    apart = stronger["difference"]["guided"]["gender"]["fd_hard"]
    values = (it["gender"]["fd_hard"]["value"] for it in (stronger, own["arms"]["guided"]))
    assert apart["value"] == pytest.approx(next(values) - next(values)) and apart["low"] < apart["high"]
    assert held["arms"]["guided"] == own["arms"]["guided"] and held["cost"] == own["cost"]


def test_the_rows_of_a_table_are_corrected_for_together():
    def row(p):
        own, apart = (
            {"fd_hard": {"value": 0.2, "low": 0.1, "high": 0.3}},
            {"value": -0.1, "low": -0.2, "high": -0.01, "p": p},
        )
        guided = {"gender": own, "difference": {"vanilla": {"gender": {"fd_hard": apart}}}}
        return Row(Group({}, [], {"arms": {"vanilla": {"gender": own}, "guided": guided}}), "guided")

    p = [0.01, 0.02, 0.04]
    rows = [row(it) for it in p]
    assert (
        verdicts_of(rows, "gender.fd_hard") == ["fairer"] * 3
        and verdicts_of(rows[1:] * 2, "gender.fd_hard") == [""] * 4
    )
    baseline = Row(rows[0].group, "vanilla")
    assert verdicts_of([baseline, rows[0]], "gender.fd_hard") == ["", "fairer"]


def test_modes_are_held_against_the_images_that_they_were_found_on(sweep, tmp_path):
    """Where the reference is of another sampler, the collected images lie beside it."""
    shutil.copytree(sweep.root, tmp_path / "runs")
    root = tmp_path / "runs"
    jobs = [root / "jobs" / name for name in ("h0", "h1")]
    own = pool_jobs(jobs, root)
    for place in ("h0", "h1"):
        folder = root / "stages" / "evaluate" / place
        collected = load_arm(folder, "reference")
        save_arm(folder, replace(collected, arm="collected"))
        women = {**collected.probabilities, "gender": collected.probabilities["gender"] * 0 + [0.05, 0.95]}
        save_arm(folder, replace(collected, probabilities=women))
    held = pool_jobs(jobs, root)
    assert held["modes"]["ari"] == own["modes"]["ari"] and own["modes"]["ari"]["gender"] > 0.5


@pytest.mark.parametrize(
    ("at_floor", "value", "mark"), [(False, 0.3, ""), (True, 0.1, "~"), (True, AT_FLOOR * 0.1 + 0.01, "~")]
)
def test_a_mark_says_that_the_interval_holds_a_fair_sampler(sweep, monkeypatch, at_floor, value, mark):
    rows = rows_of(grouped(read_source(sweep.path).jobs, ["generate.seed"]))
    found = Number(value, 0.0, 0.9, floor=0.1, at_floor=at_floor)
    monkeypatch.setattr(type(rows[0]), "measure", lambda row, name: found)
    (column,) = [it for it in number_columns(rows, "mode_fd", Notes(), False) if it.title == "gender fd_hard"]
    assert column.cells == [f"{value:.3f}{mark}"] * 3


def test_the_terminal_shows_one_row_for_each_pooled_group_and_fits(made):
    place, out = made
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80 or all(str(place.parent) in line for line in lines if len(line) > 80)
    rows = [line.split() for line in lines if line.startswith(("vanilla ", "3.0 ", "6.0 "))]
    assert [row[0] for row in rows[:3]] == ["vanilla", "3.0", "6.0"]
    assert [row[1] for row in rows[:3]] == ["64", "64", "64"]  # two seeds of 32
    assert [float(row[2]) for row in rows[:3]] == pytest.approx([0.75, 0.65, 0.5], abs=0.02)
    assert "state" not in out


def test_markdown_csv_and_json_say_the_same(made):
    place, _ = made
    guided = read(place / "results.json")["rows"][1]["results"]["arms"]["guided"]
    (line,) = lines_of(place, arm="guided", metric="gender/fd_hard", **{"guidance.strength": "6.0"})
    entry = guided["gender"]["fd_hard"]
    for key in ("value", "low", "high", "floor", "n"):
        assert float(line[key]) == entry[key], key
    assert line["jobs"] == "h2 h3"
    assert (
        f"{guided['kept_cosine']['value']:.3f} [{guided['kept_cosine']['low']:.3f}" in (place / "table.md").read_text()
    )
    (row,) = [line for line in (place / "table.tex").read_text().splitlines() if line.startswith("6.0 & ")]
    assert f" & {guided['kept_cosine']['value']:.3f} [" in row and row.endswith(r" \\")
    with Image.open(place / "pareto.png") as picture:
        assert picture.size[0] == pytest.approx(800, abs=2)


def test_each_line_of_the_csv_is_one_number_of_one_arm_and_row(made):
    lines = lines_of(made[0])
    keys = [tuple(line[key] for key in ("guidance.strength", "prompt", "arm", "metric")) for line in lines]
    assert len(set(keys)) == len(keys) and {line["arm"] for line in lines} == {"vanilla", "guided"}


def test_vanilla_stands_first_where_all_share_it_and_else_beside_each(sweep):
    jobs = read_source(sweep.path).jobs
    shared = rows_of(grouped(jobs, ["generate.seed"]))
    assert [(row.shared, row.arm) for row in shared] == [(True, "vanilla"), (False, "guided"), (False, "guided")]
    apart = rows_of(grouped(jobs, []))  # each seed has a vanilla arm of its own
    assert [row.arm for row in apart] == ["guided"] * 4
    assert apart[0].vanilla("gender.fd_hard").value != apart[0].measure("gender.fd_hard").value


def test_without_pooling_each_job_is_a_row_with_its_own_vanilla(made, capsys):
    place, _ = made
    assert main(["stages=[table]", f"table.root={place}", "table.pool=[]"]) == 0
    out = capsys.readouterr().out
    assert "vanilla gender fd_hard" in out and "have vanilla arms of their own" in " ".join(out.split())
    assert len({line["jobs"] for line in lines_of(place)}) == 4


@pytest.mark.manners
def test_jobs_with_the_same_images_are_not_pooled(made, capsys):
    assert main(["stages=[table]", f"table.root={made[0]}", "table.pool=[guidance.strength]"]) == 2
    err = capsys.readouterr().err
    assert "`table.pool` must be keys that change the seed of the images alone" in err and err.count("\n") == 1


def test_a_group_of_which_a_job_failed_says_so_and_holds_the_others(made, capsys):
    place, _ = made
    SweepFolder(place).write_state(3, JobState(FAILED, code=1, error="out of memory"))
    assert main(["stages=[table]", f"table.root={place}"]) == 0
    out = capsys.readouterr().out
    assert "1 of 2" in out and "job 3 (strength=6.0, seed=2): failed: out of memory" in " ".join(out.split())
    assert {line["jobs"] for line in lines_of(place, **{"guidance.strength": "6.0"})} == {"h2"}


def test_a_root_of_runs_is_taken_as_a_sweep_over_what_differs(sweep, tmp_path, capsys):
    shutil.copytree(sweep.root, tmp_path / "runs")
    assert main(["stages=[table]", f"table.root={tmp_path / 'runs'}"]) == 0
    out = capsys.readouterr().out
    assert "4 jobs over strength, seed" in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("vanilla ", "3.0 ", "6.0 "))][:3] == [
        "vanilla", "3.0", "6.0"
    ]  # fmt: skip
    assert (tmp_path / "runs" / "table" / "pareto.png").exists()


def test_of_jobs_of_a_root_that_differ_in_nothing_measured_the_last_one_counts(sweep, tmp_path, capsys):
    root = tmp_path / "runs"
    shutil.copytree(sweep.root, root)
    shutil.copytree(root / "jobs" / "h0", root / "jobs" / "again")  # with more pictures, or by another version
    os.utime(root / "jobs" / "again" / "results.json", (2e9, 2e9))
    config = root / "jobs" / "again" / "config.yaml"
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "report": {"images": 4}}))
    assert main(["stages=[table]", f"table.root={root}", "table.pool=[]"]) == 0
    assert "4 jobs" in capsys.readouterr().out
    assert {line["jobs"] for line in lines_of(root / "table")} == {"again", "h1", "h2", "h3"}


@pytest.mark.parametrize("differ", ["encoder", "folders"])
def test_jobs_of_a_root_that_differ_in_encoder_or_given_folders_are_rows_of_their_own(sweep, tmp_path, differ, capsys):
    root = tmp_path / "runs"
    shutil.copytree(sweep.root, root)
    shutil.copytree(root / "jobs" / "h0", root / "jobs" / "other")
    for name, encoder, sha256 in (("h0", "shipped:emoji_clip", "aa"), ("other", "shipped:emoji_clip_informed", "bb")):
        config, results = (root / "jobs" / name / file for file in ("config.yaml", "results.json"))
        if differ == "encoder":
            own = {"encoder": {"_target_": "ClipEncoder", "pretrained": encoder}}
            config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **own}))
        else:
            sources = {"guided": {"path": "guided", "sha256": sha256}}
            results.write_text(json.dumps({**json.loads(results.read_text()), "sources": sources}))
    assert main(["stages=[table]", f"table.root={root}", "table.pool=[]"]) == 0
    assert "5 jobs" in capsys.readouterr().out


@pytest.mark.manners
def test_jobs_whose_measured_images_are_gone_are_not_pooled(made, capsys):
    place, _ = made
    shutil.rmtree(place.parents[1] / "stages" / "evaluate" / "h1")
    assert main(["stages=[table]", f"table.root={place}"]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert (
        "`table.pool` must be [] until what is gone was made again (" in err
        and "evaluate/h1 is not there any more" in err
    )
    assert main(["stages=[table]", f"table.root={place}", "table.pool=[]"]) == 0


def test_a_share_is_that_of_its_own_class(sweep):
    (group, *_) = grouped(read_source(sweep.path).jobs, [])
    assert (
        group.measure("guided", "shares.gender.man").value
        == group.results["arms"]["guided"]["shares"]["gender"]["man"]["value"]
    )
    assert group.measure("guided", "shares.animal.dog").value is None
    means = {"guided": {"gender": {"share": {"value": 0.4, "class": "woman"}}}}
    many = Group({}, [], {"rows": {}, "over_prompts": means})
    assert many.measure("guided", "shares.gender.woman").value == 0.4
    assert many.measure("guided", "shares.gender.man").value is None


def test_verdicts_have_the_level_of_the_jobs(sweep):
    (group, *_) = grouped(read_source(sweep.path).jobs, [])
    assert highest_level([None, group.results, {"rows": {"a": {"level": 0.99}}}]) == 0.99 and highest_level([]) == 0.95


def test_of_a_choice_of_part_the_class_alone_is_a_key():
    configs = [config_of(1, 3.0, "a.KMeans"), config_of(1, 3.0, "a.TwoStage"), config_of(1, 6.0, "a.TwoStage")]
    keys, values = differing(configs)
    assert keys == ["clustering", "guidance.strength"]
    assert [list(own.values()) for own in values] == [["KMeans", "3.0"], ["TwoStage", "3.0"], ["TwoStage", "6.0"]]


def test_jobs_with_a_list_of_prompts_are_pooled_prompt_by_prompt(tmp_path, capsys):
    sweep = write_sweep(tmp_path / "runs", STRENGTHS, rows=("cook", "judge"))
    assert main(["stages=[table]", f"table.root={sweep.path}", "table.fairness=gender.deviation_ratio"]) == 0
    out = capsys.readouterr().out
    assert "2 prompts" in out and "2 x 64" in out
    means = lines_of(sweep.path, arm="guided", metric="gender/fd_hard", prompt="", **{"guidance.strength": "6.0"})
    own = [line for line in lines_of(sweep.path, arm="guided", metric="gender/fd_hard") if line["prompt"]]
    assert len(means) == 1 and {line["prompt"] for line in own} == {"cook", "judge"}
    values = [float(line["value"]) for line in own if line["guidance.strength"] == "6.0"]
    assert float(means[0]["value"]) == pytest.approx(sum(values) / 2)


def test_modes_that_each_job_has_for_itself_are_not_pooled(tmp_path):
    jobs = [write_job(tmp_path, name, seed, 3.0, 0.5) for name, seed in (("a", 1), ("b", 2))]
    record = read(jobs[1] / "job.json")
    record["stages"]["discover"] = "stages/discover/other"
    write_json(jobs[1] / "job.json", record)
    pooled = pool_jobs(jobs, tmp_path)
    assert pooled["arms"]["guided"]["mode_fd"]["value"] is None
    assert pooled["arms"]["guided"]["gender"]["fd_hard"]["n"] == 64
