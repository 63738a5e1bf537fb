"""`selfdebias.run`: the same job as that of the command line, and the same errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import selfdebias
from selfdebias.config import sources
from selfdebias.config.compose import load
from selfdebias.jobs import from_python
from selfdebias.jobs.failures import Terminated
from selfdebias.jobs.from_python import _load_whole
from selfdebias.main import main


@pytest.fixture
def jobs(stand_ins, monkeypatch):
    """The calls of stand-in stages, of which nothing is printed."""
    monkeypatch.setattr("selfdebias.jobs.task._print_outcome", lambda job: print(f"job: {job}"))
    return stand_ins


def composed(*overrides):
    """As a user of Hydra composes the files."""
    with initialize_config_dir(str(sources.conf_folder()), version_base="1.3"):
        return compose("config", list(overrides))


def test_overrides_make_the_job_of_the_command_line(jobs, capsys):
    job = selfdebias.run(["guidance.strength=3", "+tags=[a]", "logger.mode=online"])
    done = len(jobs)
    assert job.parent == Path("runs/jobs") and (job / "results.json").exists() and done > 5
    record = json.loads((job / "job.json").read_text())
    assert record["tags"] == ["a"] and "guidance.strength=3" in record["command"]
    assert f"job: {job}" in capsys.readouterr().out
    assert main(["guidance.strength=3"]) == 0
    assert [it["stage"] for it in jobs[done:]] == ["report"] and [it.name for it in Path("runs/jobs").iterdir()] == [
        job.name
    ]
    assert json.loads((job / "job.json").read_text())["tags"] == []


@pytest.mark.parametrize("kind", [lambda it: it, dict], ids=["DictConfig", "dict"])
def test_a_whole_configuration_is_the_same_job_with_a_command_that_runs_it_again(jobs, kind):
    job = selfdebias.run(["guidance.strength=3", "collect.n_images=64"])
    done = len(jobs)
    assert selfdebias.run(kind(composed("guidance.strength=3", "collect.n_images=64"))) == job
    assert len(jobs) == done
    assert json.loads((job / "job.json").read_text())["command"] == f"selfdebias --from {job}"


@pytest.mark.parametrize(
    "overrides",
    [
        ["guidance.strength=12"],
        ["guidance=transport", "clustering=spectral", "guidance.strength=12"],
        ["model=sd15", "model.guidance_scale=9", "logger=[wandb,csv]"],
        ["guidance=random", "clustering=kmeans", "projector.noise=1", "schedule=cosine", "judge=clip_zeroshot"],
    ],
    ids=" ".join,
)
def test_a_whole_number_is_the_float_that_it_is_on_the_command_line(overrides):
    whole, words = _load_whole(composed(*overrides)), load(overrides)
    assert json.dumps(whole, sort_keys=True) == json.dumps(words, sort_keys=True)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (["guidance.strength=-1"], "`guidance.strength` must be a number"),
        (["guidance=transprt"], "`guidance` must be one of"),
        (["generate.seed=1", "generate.seed=2"], "`generate.seed` must be given once"),
        (["guidance.strength=1,2"], "start a sweep with -m"),
        (["-m"], "`-m` is not an option"),
        (["hydra/launcher=joblib"], "`hydra/launcher=joblib` sets Hydra itself"),
        (["ckpt_path=x"], "Here it is --from FOLDER"),
        (["model._target_=os.system"], "`model._target_` must be"),
        (["stages=[table]", "table.root=runs"], "`stages` must be stages of a job"),
        ("guidance=random", r"take \['guidance=random'\]"),
        ({}, "a section of the configuration"),
        ({"model": "emoji"}, "`model` must be a section of the configuration"),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_line_and_no_folder(jobs, config, line):
    with pytest.raises(selfdebias.ConfigError, match=line) as error:
        selfdebias.run(config)
    assert "\n" not in str(error.value) and not jobs and not Path("runs").exists()


def test_a_whole_configuration_may_hold_no_more_than_a_command_line_says(jobs, tmp_path):
    for key, value, line in (
        ("guidance", {"_target_": "os.system"}, "`guidance._target_` must be"),
        ("logger", {"mine": {"_target_": "os.system"}}, "`logger.mine._target_` must be"),
        ("prompts", {**composed().prompts, "text": "${oc.env:HOME}"}, "must not read the environment"),
        ("more", {}, "`more` is not an option"),
        ("trainer", {**composed("trainer=ddp").trainer}, "`trainer.devices` must be 1 in a whole configuration"),
    ):
        with pytest.raises(selfdebias.ConfigError, match=line):
            selfdebias.run({**composed(), key: value})
    assert not jobs and not Path("runs").exists()


def test_importing_the_package_and_naming_run_is_quick():
    code = "import sys, selfdebias; selfdebias.ConfigError; selfdebias.run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=True)


def test_sigterm_ends_a_job_as_it_does_on_the_command_line(monkeypatch):
    def wait(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        pytest.fail("went on")

    monkeypatch.setattr(from_python, "run_in_ranks", wait)
    with pytest.raises(Terminated):
        from_python.run(["debug=tiny", "logger=none"])
