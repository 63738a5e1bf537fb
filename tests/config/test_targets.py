"""A configuration can name no code but the parts of its groups, a few foreign classes, and registered plug-ins."""

from __future__ import annotations

import sys

import pytest
import yaml
from hydra.utils import get_object

from selfdebias.config.compose import load
from selfdebias.config.keys import as_keyed
from selfdebias.config.overrides import options_of
from selfdebias.config.rules import ConfigError
from selfdebias.config.sources import conf_folder, read_option
from selfdebias.config.targets import FOREIGN, MOVED, _is_part, check_names, check_objects, make, plugin_packages
from selfdebias.guidance import GuidanceWindow
from selfdebias.main import main

HANDLER = "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler.SubprocessHandler"
REFUSED = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "hydra.utils.call",
    "selfdebiasx.prompts.Prompts",
    "selfdebias",
    "torch.os.system",
    "torch.hub.load",
    "torch.nn.Linear",
    HANDLER,
    "pytorch_lightning.Trainer",
    "pytorch_lightning.loggers.CSVLogger",
    "diffusers.DDPMPipeline",
    "transformers.AutoModel",
    "sklearn.cluster.KMeans",
    "torchmetrics.Metric",
    "selfdebias.jobs.commands.os.system",
    "selfdebias.main.sys.exit",
    "selfdebias.storage.atomic.write_text",
    "selfdebias.storage.batches.BatchFolder",
    "selfdebias.guidance.schedules.GuidanceWindow",
    "stand_ins.parts.system",
    "selfdebias.config.prompts.Nothing",
    "selfdebias.storage.atomic.tempfile.TemporaryFile",
    "transformers.subprocess.Popen",
    "selfdebias..guidance",
    "selfdebias.guidance.TransportGuidance; import os",
    7,
    None,
    ["selfdebias.guidance.TransportGuidance"],
]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_guidance_of_ours_or_of_a_plug_in_is_refused_as_guidance(stand_ins, name):
    with pytest.raises(ConfigError, match="_target_` must") as error:
        check_objects({"guidance": {"of": {"_target_": name}}})
    assert "guidance.of._target_" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("group", [*sorted(load([]).keys() - {"paths"}), "discover"])
def test_no_group_takes_a_class_that_starts_a_process_or_a_part_of_another_group(group, tmp_path):
    where = {"entrypoint": "touch", "args": [str(tmp_path / "ran")], "env": {}, "stdout": None, "stderr": None}
    for name in (HANDLER, "selfdebias.storage.stage_folder.StageFolder", "pytorch_lightning.callbacks.Timer"):
        with pytest.raises(ConfigError, match=rf"`{group}\._target_` must"):
            make({group: {"_target_": name, **where, "local_rank_id": 0, "numa_options": None}}, group)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "config"),
    [
        ("trainer.callbacks.0", {"trainer": {"callbacks": [{"_target_": "pytorch_lightning.callbacks.Timer"}]}}),
        ("model.negative_prompt", {"model": {"negative_prompt": {"_target_": "selfdebias.config.prompts.NoPrompt"}}}),
        ("guidance.target", {"guidance": {"target": {"_target_": HANDLER}}}),
        ("logger.csv", {"logger": {"csv": {"_target_": "pytorch_lightning.loggers.WandbLogger"}}}),
        ("logger.mine", {"logger": {"mine": {"_target_": "pytorch_lightning.loggers.CSVLogger"}}}),
        ("judge.encoder", {"judge": {"encoder": {"_target_": "selfdebias.judges.emoji.EmojiJudge"}}}),
        ("generate.sampler.scheduler", {"generate": {"sampler": {"scheduler": {"_target_": "os.system"}}}}),
    ],
)
def test_what_is_nested_is_held_against_its_own_place(place, config):
    with pytest.raises(ConfigError, match=rf"`{place}\._target_` must"):
        check_objects(config)


def test_every_option_of_every_group_is_a_part_of_it():
    """So that a new class with its YAML needs no line anywhere else."""
    checked = 0
    for file in sorted(conf_folder().glob("*/**/*.yaml")):
        group = file.relative_to(conf_folder()).parts[0]
        name = yaml.safe_load(file.read_text()).get("_target_")
        if name is not None and group != "hydra":
            assert _is_part(get_object(name), name, group, ()), file
            checked += 1
    assert checked > 50


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_class_is_taken_at_its_own_place_alone_and_a_configuration_of_ours_uses_it(name):
    place, reason = FOREIGN[name]
    assert reason
    group, _, own = place.partition(".")
    parts = [read_option(group, option) for option in options_of(group, [conf_folder()])]
    used = [part.get(own, {}) if own else part for part in parts]
    (part,) = [it for it in used if it.get("_target_") == name and "defaults" not in it][:1]
    check_objects({group: {own: part} if own else part})
    with pytest.raises(ConfigError, match="_target_` must"):
        check_objects({"logger": {"other": part}})
    assert get_object(name).__module__.startswith("pytorch_lightning")


def test_the_name_is_refused_before_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_package.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="evil_package"):
        check_names({"model": {"_target_": "evil_package.Model"}})
    assert "evil_package" not in sys.modules


@pytest.mark.parametrize("name", ["os.system", "selfdebias.jobs.commands.os.system", "stand_ins.parts.system", HANDLER])
def test_the_command_line_refuses_it_and_runs_nothing(stand_ins, tmp_path, capsys, name):
    assert main([f"model._target_={name}", "model.weights='touch ran'"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "runs").exists()
    assert stand_ins == []


def test_a_plug_in_that_is_not_registered_is_refused():
    assert "stand_ins" not in plugin_packages()
    with pytest.raises(ConfigError, match=r"stand_ins\.parts\.Model"):
        check_names({"model": {"_target_": "stand_ins.parts.Model"}})


def test_a_registered_plug_in_is_taken(stand_ins):
    check_objects({"model": {"_target_": "stand_ins.parts.Model", "steps": 3}})
    with pytest.raises(ConfigError, match="a class of the plug-in stand_ins"):
        check_objects({"model": {"_target_": "torch.nn.Linear"}})


def test_options_are_held_against_the_class(stand_ins):
    with pytest.raises(ConfigError, match="`model.size` is not an option. Model has weights, steps"):
        check_objects({"model": {"_target_": "stand_ins.parts.Model", "size": 3}})
    with pytest.raises(ConfigError, match="`bank.attribute` must be given for SupervisedBank"):
        check_objects({"bank": {"_target_": "selfdebias.modes.banks.SupervisedBank"}})
    with pytest.raises(ConfigError, match="_args_"):
        check_objects({"bank": {"_target_": "selfdebias.modes.banks.SupervisedBank", "_args_": ["gender"]}})
    with pytest.raises(ConfigError, match="_partial_"):
        check_objects({"bank": {"_target_": "selfdebias.modes.banks.OwnBank", "_partial_": True}})


@pytest.mark.parametrize("old", sorted(MOVED))
def test_a_class_under_its_old_name_is_the_same_part_and_has_the_same_key(old):
    kind = get_object(MOVED[old])
    names = (MOVED[old], f"{kind.__module__}.{kind.__qualname__}")
    assert [as_keyed("any", {"_target_": name}) for name in (old, *names)] == [{"_target_": old}] * 3


def test_what_a_folder_of_before_names_is_made():
    schedule = make({"schedule": {"_target_": "selfdebias.schedules.GuidanceWindow", "start": 0.25}}, "schedule")
    assert type(schedule) is GuidanceWindow and schedule.start == 0.25
