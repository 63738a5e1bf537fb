"""A configuration can name no code but that of the known packages."""

from __future__ import annotations

import sys

import pytest

from selfdebias.main import main
from selfdebias.rules import ConfigError
from selfdebias.targets import allowed_packages, check_names, check_objects

REFUSED = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "hydra.utils.call",
    "selfdebiasx.prompts.Prompts",
    "selfdebias",
    "torch.os.system",
    "torch.hub.load",
    "selfdebias.main.os.system",
    "selfdebias.main.sys.exit",
    "selfdebias.storage.atomic.write_text",
    "stand_ins.parts.system",
    "selfdebias.prompts.Nothing",
    "selfdebias.storage.atomic.tempfile.TemporaryFile",
    "transformers.subprocess.Popen",
    7,
    None,
]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_class_of_a_known_package_is_refused(stand_ins, name):
    with pytest.raises(ConfigError, match="_target_` must") as error:
        check_objects({"guidance": {"of": [{"_target_": name}]}})
    assert "guidance.of.0" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_name_is_refused_before_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_package.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="evil_package"):
        check_names({"model": {"_target_": "evil_package.Model"}})
    assert "evil_package" not in sys.modules


@pytest.mark.parametrize("name", ["os.system", "selfdebias.main.os.system", "stand_ins.parts.system"])
def test_the_command_line_refuses_it_and_runs_nothing(stand_ins, tmp_path, capsys, name):
    assert main([f"model._target_={name}", "model.weights='touch ran'"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "runs").exists()
    assert stand_ins == []


def test_a_plug_in_that_is_not_registered_is_refused():
    assert "stand_ins" not in allowed_packages()
    with pytest.raises(ConfigError, match=r"stand_ins\.parts\.Model"):
        check_names({"model": {"_target_": "stand_ins.parts.Model"}})


def test_a_registered_plug_in_and_libraries_are_taken(stand_ins):
    check_objects({"a": {"_target_": "stand_ins.parts.Model", "steps": 3}})
    check_objects({"a": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}})
    check_objects({"a": {"_target_": "pytorch_lightning.Trainer", "_partial_": True, "devices": 1}})


def test_options_are_held_against_the_class(stand_ins):
    with pytest.raises(ConfigError, match="`model.size` is not an option. Model has weights, steps"):
        check_objects({"model": {"_target_": "stand_ins.parts.Model", "size": 3}})
    with pytest.raises(ConfigError, match="`a.out_features` must be given for Linear"):
        check_objects({"a": {"_target_": "torch.nn.Linear", "in_features": 3}})
    with pytest.raises(ConfigError, match="_args_"):
        check_objects({"a": {"_target_": "torch.nn.Linear", "_args_": [3, 2]}})
