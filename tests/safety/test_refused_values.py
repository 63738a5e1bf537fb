"""Values that nothing sensible can come of are refused in one line, before anything slow starts."""

from __future__ import annotations

import pytest
from PIL import Image

from selfdebias.config.compose import ConfigError, load, load_sweep
from selfdebias.config.keys import with_named_folders
from selfdebias.jobs.early_checks import check_early
from selfdebias.main import main

REFUSED = {
    "collect.n_images=99999999999999999999999999": "`collect.n_images` must be a whole number in [1, 10000000]",
    "generate.n_images=99999999999": "`generate.n_images` must be a whole number in [1, 10000000]",
    "collect.batch_size=1000000000": "`collect.batch_size` must be a whole number in [1, 100000]",
    "collect.timesteps=1000000": "`collect.timesteps` must be",
    "generate.seed=99999999999999999999": "`generate.seed` must be a whole number in [0, 9223372036854775807]",
    "model.height=100000": "`model.height` must be null or a multiple of 8 pixels, at most 16384",
    "model.width=7": "`model.width` must be null or a multiple of 8 pixels",
    "model.steps=100000": "`model.steps` must be a whole number in [1, 10000]",
    "model.guidance_scale=1e9": "`model.guidance_scale` must be a number in [1, 100]",
    "generate.sampler={guidance_scale: 0}": "`generate.sampler.guidance_scale` must be a number in [1, 100]",
    "model.steps=0": "`model.steps` must be a whole number in [1, 10000]",
    "generate.sampler={steps: 0}": "`generate.sampler.steps` must be a whole number in [1, 10000]",
    "projector.hidden=99999999999": "`projector.hidden` must be a whole number in [1, 65536]",
    "guidance.target=[true,false]": "`guidance.target` must be a list of at least two shares",
    "guidance.slack=1e9": "`guidance.slack` must be a number in [1, 10000]",
    "guidance.strength=1e308": "`guidance.strength` must be a number in [0, 10000]",
    "guidance.limit=1e300": "`guidance.limit` must be",
    "evaluate.bootstrap=1": "`evaluate.bootstrap` must be a whole number in [20, 1000000]",
    "evaluate.reference_images=1": "`evaluate.reference_images` must be a whole number in [2, 10000000]",
    "report.images=100000000": "`report.images` must be a whole number in [1, 10000]",
    "logger.project=": "`logger.wandb.project` must be null or a text that is not blank",
    "+logger.entity=[a]": "`logger.wandb.entity` must be null or a text",
    "+logger.settings.base_url=http://127.0.0.1:1": "`logger.wandb.settings.base_url` is not an option",
    "+logger.settings.foo=1": "`logger.wandb.settings.foo` is not an option",
    "trainer.accelerator=foo": "`trainer.accelerator` must be one of auto, cpu",
    "trainer.precision=foo": "`trainer.precision` must be 32-true, as the model has a model.dtype of its own",
    "logger._target_=pytorch_lightning.loggers.CSVLogger": "`logger.wandb._target_` must be pytorch_lightning.loggers.WandbLogger",
    "guidance.strength=6 guidance.strength=7": "`guidance.strength` must be given once, got `guidance.strength=6` and",
    "guidance=none guidance=random": "`guidance` must be given once",
}


@pytest.mark.parametrize("text", REFUSED)
def test_it_is_one_line_and_no_folder(text, tmp_path, capsys):
    arguments = text.split(" ") if "{" not in text else [text]
    assert main([*arguments, f"paths.root={tmp_path / 'runs'}"]) == 2
    out, err = capsys.readouterr()
    assert REFUSED[text] in err and err.count("\n") == 1 and "done in" not in out, err
    assert not (tmp_path / "runs").exists()


def test_a_key_that_a_sweep_gives_twice_is_refused_and_an_experiments_own_values_may_be_replaced(capsys):
    assert main(["-m", "generate.seed=1,2", "generate.seed=3"]) == 2
    assert "`generate.seed` must be given once" in capsys.readouterr().err
    jobs = load_sweep(["experiment=emoji/strength", "guidance.strength=1,2"])
    assert {job.config["guidance"]["strength"] for job in jobs} == {1.0, 2.0}


def images(folder, shade):
    folder.mkdir(parents=True)
    for k in range(2):
        Image.new("RGB", (8, 8), (shade, k, 0)).save(folder / f"{k}.png")
    return folder


def test_a_folder_is_not_held_against_itself(tmp_path):
    a, b = images(tmp_path / "a", 1), images(tmp_path / "b", 2)
    (tmp_path / "link").symlink_to(a)

    def asked(folders, reference=None):
        config = load(["stages=[evaluate]"])
        return {**config, "evaluate": {**config["evaluate"], "folders": folders, "reference": reference}}

    with_named_folders(asked([str(a), str(b)], str(tmp_path)))
    for folders in ({"x": str(a), "y": f"{a}/../a"}, {"x": str(a), "y": str(tmp_path / "link")}):
        with pytest.raises(ConfigError, match="`evaluate.folders` must be different folders"):
            with_named_folders(asked(folders))
    with pytest.raises(ConfigError, match="`evaluate.reference` must be other images than those of the arm b"):
        with_named_folders(asked([str(a), str(b)], f"{b}/."))


def test_a_class_that_the_command_line_names_starts_from_its_own_defaults(tmp_path):
    """The values of the default guidance belong to the default guidance."""
    named = load(
        ["guidance._target_=selfdebias.guidance.SelfDebiasGuidance", "guidance.strength=3", "guidance.temperature=0.2"]
    )
    assert named["guidance"] == {
        "_target_": "selfdebias.guidance.SelfDebiasGuidance", "strength": 3.0, "temperature": 0.2,
    }  # fmt: skip
    check_early({**named, "paths": {"root": str(tmp_path)}})
    with pytest.raises(ConfigError, match="`guidance.strength` must be given for SelfDebiasGuidance"):
        check_early(
            {**load(["guidance._target_=selfdebias.guidance.SelfDebiasGuidance"]), "paths": {"root": str(tmp_path)}}
        )
