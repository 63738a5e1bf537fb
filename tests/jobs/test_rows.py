"""A job with a row for each prompt: its steps run row by row, each row can be read at once, and a stopped job goes on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from selfdebias.jobs import run
from selfdebias.main import main
from selfdebias.storage.atomic import write_json
from tests.report.example import example_results

LIST = ["prompts=emoji_occupations", "prompts.subjects=['a farmer','an office worker','a cook']", "logger=none"]
ROWS = ["farmer", "office-worker", "cook"]
STEPS = ["collect", "discover", "project", "generate", "generate", "evaluate", "report"]


@pytest.fixture
def evaluated(stand_ins, monkeypatch):
    """Stand-ins whose evaluation leaves real results."""
    module = run.evaluate
    works = module.evaluate

    def evaluate(folder, prompts, **arguments):
        works(folder, prompts=prompts, **arguments)
        write_json(folder / "results.json", example_results(tuple(arguments["arms"]), prompt=prompts.text))

    monkeypatch.setattr(module, "evaluate", evaluate)
    return stand_ins


def the_job():
    (job,) = Path("runs/jobs").iterdir()
    return job


def test_each_row_runs_all_its_steps_with_its_own_prompt(evaluated, capsys):
    assert main(LIST) == 0
    assert [call["stage"] for call in evaluated] == STEPS * 3
    texts = [call["prompts"].text for call in evaluated if "prompts" in call]
    assert texts == [f"an emoji of {it}" for it in ("a farmer", "an office worker", "a cook") for _ in range(4)]
    for start in range(0, 21, 7):
        collected = {call["collected"] for call in evaluated[start : start + 7] if "collected" in call}
        assert len(collected) == 1
    out = capsys.readouterr().out.splitlines()
    marks = ["[1/3] farmer", "[2/3] office-worker", "[3/3] cook"]
    assert [line for line in out if line.startswith("[") and "/3]" in line] == marks
    assert out[out.index("[2/3] office-worker") + 1] == "collect/office-worker ..."


def test_the_jobs_folder_holds_rows_means_table_and_page(evaluated, capsys):
    assert main(LIST) == 0
    job, out = the_job(), capsys.readouterr().out
    results = json.loads((job / "results.json").read_text())
    assert results["config_hash"] == job.name and results["row_names"] == ROWS and set(results["rows"]) == set(ROWS)
    assert results["seeds"] == {"collect": 0, "generate": 1}
    for row in ROWS:
        own = json.loads((job / "rows" / row / "results.json").read_text())
        assert own == results["rows"][row] and own["prompts"]["text"].endswith(row.replace("-", " "))
        assert {path.name for path in (job / "rows" / row).iterdir()} >= {"report.html", "table.md", "metrics.jsonl"}
    assert results["over_prompts"]["guided"]["gender"]["deviation_ratio"]["rows"] == 3
    with (job / "results.csv").open(newline="") as file:
        assert [*dict.fromkeys(line["prompt"] for line in csv.DictReader(file))] == [*ROWS, "over_prompts"]
    stages = json.loads((job / "job.json").read_text())["stages"]
    assert len(stages) == 21 and stages["generate/cook/guided"].startswith("stages/generate/")
    assert 'href="rows/office-worker/report.html"' in (job / "report.html").read_text()
    assert "| office-worker |" in (job / "table.md").read_text()
    assert f"report: {job}/report.html" in out and "\noffice-worker " in out


def test_a_row_and_a_job_with_its_prompt_alone_share_all_stages_but_for_the_page_that_names_its_job(evaluated, capsys):
    assert main(["prompts.text='an emoji of an office worker'", "prompts.attributes=[gender,tone]", "logger=none"]) == 0
    evaluated.clear()
    assert main(LIST) == 0
    assert [call["stage"] for call in evaluated] == [*STEPS, "report", *STEPS]
    evaluated.clear()
    capsys.readouterr()
    assert main(LIST) == 0
    assert evaluated == [] and capsys.readouterr().out.count(": found, skipped") == 21


@pytest.mark.reliability
def test_a_stopped_job_leaves_finished_rows_readable_and_goes_on(evaluated, monkeypatch):
    module = run.discover
    works = module.discover

    def stops(folder, collected, **arguments):
        if len([call for call in evaluated if call["stage"] == "discover"]) == 1:
            raise KeyboardInterrupt
        works(folder, collected=collected, **arguments)

    monkeypatch.setattr(module, "discover", stops)
    assert main(LIST) == 130
    job = the_job()
    assert {path.name for path in (job / "rows").iterdir()} == {"farmer"}
    assert (job / "rows" / "farmer" / "report.html").exists() and not (job / "results.json").exists()
    monkeypatch.setattr(module, "discover", works)
    assert main(LIST) == 0
    assert [call["stage"] for call in evaluated] == STEPS * 3
    assert the_job() == job and (job / "results.json").exists()


def test_some_stages_only(evaluated):
    assert main([*LIST, "stages=[collect,discover]"]) == 0
    assert [call["stage"] for call in evaluated] == ["collect", "discover"] * 3
    evaluated.clear()
    assert main([*LIST, "stages=[project,generate,evaluate]"]) == 0
    assert [call["stage"] for call in evaluated] == ["project", "generate", "generate", "evaluate"] * 3
    (job,) = Path("runs/jobs").glob("*/results.json")
    assert not (job.parent / "report.html").exists()


def test_stages_that_are_missing_in_one_row_are_asked_for(evaluated, capsys):
    subjects = "prompts.subjects=['a farmer']"
    assert main([LIST[0], LIST[2], subjects, "stages=[collect]"]) == 0
    assert main([*LIST, "stages=[discover]"]) == 2
    assert "`stages` must include collect: discover reads it, and none is there" in capsys.readouterr().err


def test_a_sweep_over_lists_shares_what_it_can(evaluated):
    assert main(["-m", *LIST, "guidance.strength=0.2,0.4"]) == 0
    stages = [call["stage"] for call in evaluated]
    assert stages == STEPS * 3 + ["generate", "evaluate", "report"] * 3
    assert len(list(Path("runs/jobs").iterdir())) == 2


@pytest.mark.parametrize("arms", [1, 3])
def test_other_numbers_of_arms(evaluated, arms):
    assert main([*LIST, f"guidance={'none' if arms == 1 else 'random'}"]) == 0
    assert len(json.loads((the_job() / "results.json").read_text())["over_prompts"]) == arms


@pytest.mark.parametrize("job", [LIST, ["logger=none"]], ids=["list", "single"])
def test_a_job_is_logged_once_where_it_has_results(evaluated, monkeypatch, job):
    logged = []
    monkeypatch.setattr("selfdebias.jobs.job._log", lambda *arguments: logged.append(arguments))
    assert main(job) == 0
    assert len(logged) == 1 and (logged[0][2] is None) == (job is LIST)
    assert main([*job, "stages=[report]"]) == 0
    assert len(logged) == 1


def test_a_subject_that_may_be_misspelt_is_noted_before_anything_runs(evaluated, capsys):
    assert main([LIST[0], LIST[2], "prompts.subjects=[a farmr, a nurse]", "stages=[collect]"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "`a farmr` is not of this protocol; did you mean `a farmer`?"
    assert sum("did you mean" in line for line in lines) == 1
