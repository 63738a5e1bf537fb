"""Every experiment composes, fixes what it says, and runs on Emoji World with a few images."""

from __future__ import annotations

import json
import re

import pytest
import torch

from selfdebias import config
from selfdebias.main import main
from selfdebias.parts import Parts
from selfdebias.storage.batches import BatchFolder
from tests.test_quickstart import SMALL

FILES = sorted((config.conf_folder() / "experiment").glob("*.yaml"))
NAMES = [file.stem for file in FILES]


def test_both_presets_are_there():
    assert {"paper", "official"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_composes_and_makes_all_parts(name):
    Parts(config.load([f"experiment={name}"]))


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_it_says_what_it_is_and_changes_the_default(file):
    text = file.read_text()
    assert text.startswith("# @package _global_\n# ")
    default, own = config.load([]), config.load([f"experiment={file.stem}"])
    for line in re.findall(r"^\w+:(?!.*default)", text, re.MULTILINE):
        group = line.rstrip(":")
        assert group == "defaults" or own[group] != default[group], f"{file.stem} does not change {group}"


@pytest.mark.parametrize("name", NAMES)
def test_what_it_fixes_holds_for_any_model_and_gives_way_to_the_command_line(name):
    fixed = config.load([f"experiment={name}", "model=sd15"])
    assert fixed["projector"]["reader"] == "flattened"  # sd15 alone would take convolutional
    assert fixed["encoder"] == config.load(["model=sd15"])["encoder"]
    assert config.load([f"experiment={name}", "projector.noise=0.2"])["projector"]["noise"] == 0.2


def test_the_presets_are_what_the_method_says_of_them():
    paper, official = (config.load([f"experiment={name}"]) for name in ("paper", "official"))
    assert paper["guidance"]["target"] == "depth" and paper["clustering"]["_target_"].endswith("TwoStageModes")
    assert paper["projector"]["negatives"] and not official["projector"]["negatives"]
    assert official["guidance"]["_target_"].endswith("InterleavedGuidance")
    assert (official["guidance"]["temperature"], official["guidance"]["inner_steps"]) == (8, 3)
    assert official["schedule"]["start"] == 0.15 and official["model"]["scheduler"]["name"] == "PNDMScheduler"


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_emoji_world(name, tmp_path):
    small = [it for it in SMALL if not it.startswith("clustering.")]
    assert main([*small, f"experiment={name}", "clustering.k_max=4", "logger=none", f"paths.root={tmp_path}"]) == 0
    (job,) = (tmp_path / "jobs").iterdir()
    record = json.loads((job / "job.json").read_text())
    images = [
        BatchFolder.open(tmp_path / record["stages"][f"generate/{arm}"]).images() for arm in ("vanilla", "guided")
    ]
    assert images[0].shape == images[1].shape and not torch.equal(*images)
    assert json.loads((job / "results.json").read_text())["modes"]["k"] >= 1
