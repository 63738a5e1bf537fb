"""The tables beside the presets: each value that they name is the preset's, and each value that the preset sets is named."""

from __future__ import annotations

import re

import pytest
import torch
import yaml
from diffusers import PNDMScheduler

from selfdebias.config import compose as config
from selfdebias.config import sources
from selfdebias.config.rules import ConfigError, walk
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.jobs.stages.discover import _of_activations
from selfdebias.main import main
from selfdebias.modes.over_time import ModesOverTime

FOLDER = sources.conf_folder() / "experiment"
PRESETS = {"official": "official.md", "paper": "paper.md", "paper_tuned": "paper.md"}
VALUE = re.compile(r"`((?:model|collect|projector|clustering|guidance|schedule|generate)\.[\w.]+)=([^`]+)`")
TESTS = "\n".join(path.read_text() for path in FOLDER.parents[1].joinpath("tests").rglob("test_*.py"))


def rows(table: str) -> list[list[str]]:
    """The cells of each row of a table's file, without its head."""
    lines = [line for line in (FOLDER / table).read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def named(table: str) -> dict[str, str]:
    """The values that a table names, by their dotted paths."""
    return {key: value for _, _, here, _ in rows(table) for key, value in VALUE.findall(here)}


def composed(preset: str, *overrides: str) -> dict:
    return dict(walk(config.load([f"experiment={preset}", *overrides])))


def written(preset: str) -> dict:
    """What a preset's file sets, by dotted paths."""
    content = yaml.safe_load((FOLDER / f"{preset}.yaml").read_text())
    return {key: value for key, value in walk({k: v for k, v in content.items() if k != "defaults"}) if value != {}}


@pytest.mark.parametrize("preset", ["official", "paper"])
def test_each_point_of_a_preset_is_what_its_table_says(preset):
    own = composed(preset)
    for key, value in named(PRESETS[preset]).items():
        assert own[key] == yaml.safe_load(value), key
    left_out = {key for key in written(preset) if "scheduler.options" not in key} - {*named(PRESETS[preset])}
    open_ = {"guidance.eta", "guidance.temperature", "schedule.start"} if preset == "paper" else set()
    assert left_out == open_  # what the paper leaves open stands in no row


def test_what_paper_tuned_changes_is_what_the_paper_leaves_open():
    paper, tuned = composed("paper"), composed("paper_tuned")
    changed = {key for key in paper if paper[key] != tuned[key]}
    assert changed <= {f"guidance.{name}" for name in ("eta", "limit", "temperature", "inner_steps")} | {
        "schedule.start", "schedule.stop", "generate.batch_size",
    }  # fmt: skip


@pytest.mark.parametrize("table", ["official.md", "paper.md"])
def test_each_row_names_its_test(table):
    for point, _, here, test in rows(table):
        if test == "values":
            assert VALUE.search(here), point
        else:
            assert f"def {test.strip('`')}(" in TESTS, test


def test_the_window_of_the_official_preset_is_below_850():
    model = config.load(["experiment=official"])["model"]
    scheduler = PNDMScheduler(beta_schedule="scaled_linear", **model["scheduler"]["options"])
    scheduler.set_timesteps(model["steps"])
    window = GuidanceWindow(
        **{k: v for k, v in config.load(["experiment=official"])["schedule"].items() if k[0] != "_"}
    )
    guided = [window.weight(i, len(scheduler.timesteps)) > 0 for i in range(len(scheduler.timesteps))]
    assert guided == [int(t) < 850 for t in scheduler.timesteps] and 0 < sum(guided) < 51 == len(guided)


def test_unconditional_vectors_go_with_the_conditional_ones_of_their_image():
    import numpy as np

    found = ModesOverTime(np.array([0, 1, 1]), np.array([0, 1]), np.array([0, 0]), 1.0, [1.0], None)
    image, timestep = torch.tensor([0, 0, 1, 1, 1, 1]), torch.tensor([1.0, 1.0, 1.0, 1.0, 9.0, 9.0])
    cond = torch.tensor([False, True, False, True, False, True])
    assert _of_activations(found, image, timestep, cond).tolist() == [0, 0, 1, 1, 1, 1]


def test_a_negative_prompt_comes_from_a_file(tmp_path):
    file = tmp_path / "negative.txt"
    file.write_text("(((deformed))), bad:1.2,\n  ugly\n")
    asked = ["experiment=paper/faces", f"model.negative_prompt_file={file}"]
    loaded = config.load(asked)["model"]
    assert loaded["negative_prompt"] == "(((deformed))), bad:1.2, ugly" and "negative_prompt_file" not in loaded
    plain = config.load(["experiment=paper/faces"])["model"]
    assert plain["negative_prompt"] is None and plain.keys() == loaded.keys()
    with pytest.raises(ConfigError, match="must be null where `model.negative_prompt` is given"):
        config.load([*asked, "model.negative_prompt=ugly"])


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"\xff\xfe\x00", b"a" * 200_000])
def test_a_file_without_a_negative_prompt_is_refused(tmp_path, content, capsys):
    file = tmp_path / "negative.txt"
    if content is not None:
        file.write_bytes(content)
    assert main([f"model.negative_prompt_file={file}"]) == 2
    assert "`model.negative_prompt_file` must be a file of text" in capsys.readouterr().err


def test_each_table_stands_beside_its_preset():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*PRESETS}
    assert {path.name for path in FOLDER.glob("*.md")} == {*PRESETS.values()}
