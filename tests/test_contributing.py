"""What CONTRIBUTING.md shows works as it stands: a guidance in one class and one YAML."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

import selfdebias.guidance
from selfdebias import config
from selfdebias.attachment import Attachment
from selfdebias.guidance import GuidanceState
from selfdebias.plan import make_plan
from selfdebias.schedules import GuidanceWindow
from selfdebias.targets import check_job, make
from tests.tiny import sample, tiny_pipeline

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
MOST = 40  # lines of both files together


def _shown() -> dict[str, str]:
    """Contents of the files that are shown, by the path in their first line."""
    return dict(re.findall(r"```\w+\n# (\S+\.(?:py|yaml))\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def plugged_in(tmp_path, monkeypatch):
    """Both files where CONTRIBUTING.md puts them, in copies of the two folders."""
    conf = shutil.copytree(config.conf_folder(), tmp_path / "conf")
    (tmp_path / "selfdebias" / "guidance").mkdir(parents=True)
    for path, text in _shown().items():
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(config, "conf_folder", lambda: conf)
    monkeypatch.setattr(
        selfdebias.guidance, "__path__", [*selfdebias.guidance.__path__, str(tmp_path / "selfdebias" / "guidance")]
    )
    yield config.load(["guidance=shrink"])
    sys.modules.pop("selfdebias.guidance.shrink", None)


def test_it_shows_one_class_and_one_yaml_in_few_lines():
    assert sorted(_shown()) == ["conf/guidance/shrink.yaml", "selfdebias/guidance/shrink.py"]
    assert sum(len(text.splitlines()) for text in _shown().values()) <= MOST


def test_the_new_guidance_composes_and_has_an_arm(plugged_in):
    check_job(plugged_in)
    steps = make_plan(plugged_in, {})
    assert steps["generate/guided"].guidance["_target_"] == "selfdebias.guidance.shrink.ShrinkGuidance"


def test_the_new_guidance_guides(plugged_in):
    guidance, pipeline = make(plugged_in, "guidance"), tiny_pipeline()
    before = sample(pipeline, [1, 2])
    with Attachment(pipeline, guidance, GuidanceWindow(), GuidanceState()):
        after = sample(pipeline, [1, 2])
    assert not torch.equal(before, after)
    guidance.strength = 0.0
    with Attachment(pipeline, guidance, GuidanceWindow(), GuidanceState()):
        assert torch.equal(before, sample(pipeline, [1, 2]))


def test_its_values_are_checked_where_the_command_line_gives_them(plugged_in):
    with pytest.raises(config.ConfigError, match="`strength` must be between 0 and 1, got 2"):
        make(config.load(["guidance=shrink", "guidance.strength=2"]), "guidance")
