"""Each line of docs/reference/command-line.md runs, and says what the page says."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path

from selfdebias.config.compose import load_sweep
from selfdebias.config.sources import conf_folder
from selfdebias.jobs.early_checks import check_early

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "command-line.md").read_text()
WORKS, ANSWERED = (part.partition("\n## ")[0] for part in PAGE.split("\n## ")[1:])
ROW = re.compile(r"^\| `(?P<command>[^|]+)` \| [^|]+ \| `(?P<says>[^|]+)` \|$", re.MULTILINE)
NO_JOB = ("--help", "--version", "--cfg", "--info", "--hydra-help", "--shell-completion")  # of flags: nothing runs
MINE = {
    "experiment/x": "# @package _global_\ncollect: {n_images: 300}",
    "experiment/y": "# @package _global_\ncollect: {n_images: 301}",
    "guidance/z": "defaults: [transport]\nstrength: 0.3",
    "primary": "defaults: [config, _self_]\ncollect: {n_images: 400}",
}


@pytest.fixture
def mine(stand_ins, tmp_path, monkeypatch):
    """The folder that the page speaks of, and stand-ins for what takes processes of its own or real images."""
    for name, text in MINE.items():
        file = tmp_path / "mine" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr("selfdebias.jobs.task.values_of_job", lambda job, names: [0.5] * len(names))


def run(command: str, monkeypatch) -> int:
    """Runs a line of the page as a shell would; a job of it does its first stage."""
    words = shlex.split(command)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    module = words.pop(0) if words[:2] != ["python", "-m"] else words[2]
    arguments = words[2:] if words[:2] == ["python", "-m"] else words
    few = [] if set(NO_JOB) & set(arguments) else ["stages=[collect]"]
    monkeypatch.setattr(sys, "argv", [module, *arguments, *few])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("selfdebias" if module == "selfdebias" else module, run_name="__main__")
    return int(ended.value.code or 0)


def rows(part: str) -> list:
    return [pytest.param(it["command"], it["says"], id=it["command"]) for it in ROW.finditer(part)]


def test_the_page_has_each_line_in_the_form_that_is_read():
    assert len(rows(WORKS)) >= 30 and len(rows(ANSWERED)) >= 20
    assert len(rows(PAGE)) == PAGE.count("\n| `")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("command", "says"), rows(WORKS))
def test_it_works(mine, monkeypatch, capsys, command, says):
    code = run(command, monkeypatch)
    out, err = capsys.readouterr()
    assert code == 0 and says in out, f"{code} {out[-500:]} {err}"


@pytest.mark.parametrize("command", [it.values[0] for it in rows(WORKS) if "~" in it.id or "glob(" in it.id])
def test_what_depends_on_the_options_that_there_are_goes_with_the_real_ones(command):
    words = [word for word in shlex.split(command)[1:] if word != "-m"]
    loader = ConfigLoaderImpl(create_config_search_path(str(conf_folder())))
    jobs = load_sweep(words, loader=loader)
    assert len(jobs) > 1 or "-m" not in command
    for job in jobs:
        check_early(job.config)


@pytest.mark.manners
@pytest.mark.parametrize(("command", "says"), rows(ANSWERED))
def test_it_is_answered_in_one_line(mine, monkeypatch, capsys, tmp_path, command, says):
    before = sorted(tmp_path.iterdir())
    code = run(command, monkeypatch)
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("selfdebias: ") and says in err, f"{out} {err}"
    assert sorted(tmp_path.iterdir()) == before
