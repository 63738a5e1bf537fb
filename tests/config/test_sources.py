"""Where a user's own YAML files may be: a folder outside of the repository, or a package that is registered as a plug-in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from selfdebias.config import sources
from selfdebias.config.compose import load
from selfdebias.config.sources import Sources
from selfdebias.main import main

PLUGIN = Path(__file__).parents[1] / "plugin"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The plug-in of the tests with a folder `conf` of its own."""
    site = shutil.copytree(PLUGIN, tmp_path / "site")
    for name, text in {
        "guidance/theirs": "_target_: stand_ins.parts.NoGuidance",
        "experiment/they": "# @package _global_",
    }.items():
        file = site / "stand_ins" / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    for name in [it for it in sys.modules if it.partition(".")[0] == "stand_ins"]:  # that another test imported
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(site)
    yield
    for name in [it for it in sys.modules if it.partition(".")[0] == "stand_ins"]:
        del sys.modules[name]


def test_a_plug_ins_options_are_found_by_us_and_by_hydra(installed, capsys):
    assert load(["guidance=theirs", "experiment=they"])["guidance"] == {"_target_": "stand_ins.parts.NoGuidance"}
    assert main(["--info", "searchpath"]) == 0
    assert "stand_ins/conf" in capsys.readouterr().out
    assert main(["--cfg", "hydra", "guidance=theirs", "--package", "hydra.runtime.choices"]) == 0
    assert "guidance: theirs" in capsys.readouterr().out


def test_a_folder_outside_of_the_repository_gives_experiment_model_and_guidance(tmp_path):
    files = {
        "experiment/x": "# @package _global_\ndefaults: [override /guidance: z, override /model: y]\ncollect: {n_images: 300}",
        "model/y": "defaults: [emoji]\nsteps: 7",
        "guidance/z": "defaults: [transport]\nstrength: 5.0",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(text)
    config = load(["experiment=x"], Sources(sources.conf_folder(), more=(f"file://{tmp_path}",)))
    assert (config["collect"]["n_images"], config["model"]["steps"], config["guidance"]["strength"]) == (300, 7, 5.0)
