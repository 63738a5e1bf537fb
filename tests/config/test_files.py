"""`--cfg job` prints the whole configuration, each value with its comment, and what it prints is that configuration."""

from __future__ import annotations

import re

import pytest
import yaml

from selfdebias.config.compose import load
from selfdebias.config.files import commented_yaml
from selfdebias.config.sources import Sources, conf_folder
from selfdebias.main import main

MODELS = sorted(path.stem for path in (conf_folder() / "model").glob("*.yaml"))
CASES = [[f"model={name}"] for name in MODELS] + [
    ["guidance=random", "guidance.of.strength=3"], ["prompts.text='two: words # and a sign'", "guidance.target=[0.9,0.1]"],
]  # fmt: skip


@pytest.mark.parametrize("overrides", CASES, ids=" ".join)
def test_it_reads_back_as_the_configuration(overrides):
    config = load(overrides)
    assert yaml.safe_load(commented_yaml(config, overrides, Sources())) == config


@pytest.mark.parametrize("name", MODELS)
def test_every_value_of_a_model_has_its_comment(name):
    text = commented_yaml(load([f"model={name}"]), [f"model={name}"], Sources())
    section = text[text.index("\nmodel:") : text.index("\nbank:")]
    bare = [line for line in section.strip().splitlines() if "#" not in line and not line.strip().startswith("- ")]
    assert [line.split(":")[0].strip() for line in bare] == ["_target_", "scheduler", "_target_"]
    assert f"# model={name}" in section and len(re.findall("# ", section)) > 12


def test_a_value_inside_another_arms_guidance_has_its_comment(capsys):
    assert main(["guidance=random", "--cfg", "job"]) == 0
    assert "    strength: 6.0                             # size of the effect" in capsys.readouterr().out
