"""What the README says is so: its tables are those that were measured, and its commands are there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.columns import row
from experiments.occupations import VARIANTS, page
from experiments.pooled import RESULTS, who_judged
from experiments.study import names
from selfdebias.config.compose import load, load_sweep
from selfdebias.config.overrides import split_settings
from selfdebias.config.sources import Sources
from selfdebias.jobs.sweeps.launchers import check_launcher
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.modes import KMeansModes
from selfdebias.report.comparisons import verdicts_in_words

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "person_encoders",
        "person_arms",
        "occupations",
        "guidance_cost",
        "unconditional",
        "model_sizes",
        "full_width_sd15",
    ],
)
def test_each_table_is_the_measured_one(name):
    shown = re.search(rf"<!-- table: {name} -->\n(.*?)<!-- end -->", README, re.DOTALL)
    assert shown
    measured = (ROOT / "experiments" / "results" / f"{name}.md").read_text().splitlines()
    rows = [line for line in shown[1].splitlines() if line.startswith("|")]
    assert len(rows) > 2
    assert all(row in measured for row in rows)


@pytest.mark.parametrize("name", ["unconditional"])
def test_each_table_is_what_its_writer_makes_of_its_numbers(name):
    results = json.loads((RESULTS / f"{name}.json").read_text())
    measured = (RESULTS / f"{name}.md").read_text()
    for line in [
        *(row(arm, results, arm) for arm in results["arms"]),
        who_judged(results),
        *verdicts_in_words(results),
    ]:
        assert line in measured


def test_the_occupations_are_what_their_writer_makes_of_their_numbers():
    results = json.loads((RESULTS / "occupations.json").read_text())
    results = {name: results[name] for name in VARIANTS if name in results}  # whose order a JSON file loses
    assert page(results).rstrip() + "\n" == (RESULTS / "occupations.md").read_text()


def test_each_override_composes():
    lines = re.findall(r"^selfdebias (?!-)(.*)$", README, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        load(shlex.split(line, comments=True))


def test_each_sweep_composes_and_its_launcher_is_there(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: name)  # as on a cluster
    lines = re.findall(r"^selfdebias -m (.*)$", README, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        overrides = shlex.split(line, comments=True)
        seed = ["generate.seed=1"] if line.startswith("experiment=") else []  # of several, one is enough
        searches = "hydra/sweeper=search" in overrides
        assert len(load_sweep([*overrides, *seed], ends=searches)) > 1, line
        check_launcher(split_settings(overrides)[1], Sources())


def test_each_line_that_evaluates_folders_draws_nothing():
    (section,) = re.findall(r"## Evaluate images that exist\n.*?```\n(.*?)```", README, re.DOTALL)
    lines = [line for line in section.splitlines() if not line.startswith("#")]
    assert len(lines) == 7
    for line in lines:
        config = load(shlex.split(line, comments=True)[1:])
        assert config["stages"] == ["evaluate"] and config["evaluate"]["folders"], line


def test_each_job_that_is_suggested_has_batches_enough_for_an_interval():
    for line in re.findall(r"^selfdebias (?!-)(.*generate\.n_images=.*)$", README, re.MULTILINE):
        generate = load(shlex.split(line, comments=True))["generate"]
        assert generate["n_images"] >= 2 * generate["batch_size"], line


def test_the_parts_are_all_there():
    (section,) = re.findall(r"## Parts\n(.*?)\n## ", README, re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE)
    assert {group for group, _ in rows} == {
        "bank",
        "guidance",
        "clustering",
        "schedule",
        "projector",
        "trainer",
        "experiment",
    }
    for group, options in rows:
        files = [
            it.relative_to(ROOT / "conf" / group).with_suffix("").as_posix()
            for it in (ROOT / "conf" / group).rglob("*.yaml")
        ]
        names = {it if "/" not in it else f"{it.split('/')[0]}/*" for it in files}
        assert set(re.findall(r"`(\w+(?:/\*)?)`", options)) == names


def test_each_experiment_is_named():
    (section,) = re.findall(r"## Reproduce the paper\n(.*?)\n## ", README, re.DOTALL)
    for folder in ("paper", "ablation"):
        (names,) = re.findall(rf"`{folder}/`: (.*?)\.", section, re.DOTALL)
        assert set(re.findall(r"`(\w+)`", names)) == {
            it.stem for it in (ROOT / "conf/experiment" / folder).glob("*.yaml")
        }


def test_each_module_that_is_named_is_there():
    for module in re.findall(r"python -m (experiments[.\w]+)", README):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists()
    assert {*re.findall(r"(?<!experiments\.)study ([a-z]\w+)`", README)} <= {*names()}


def test_each_link_of_the_repository_leads_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


FEWER = {
    '"num_inference_steps": 25': '"num_inference_steps": 4',
    "n_images=256": 'n_images=24, clustering=KMeansModes(k_min=2, k_max=4), projector={"steps": 40}',
}


@pytest.mark.parametrize("fewer", [FEWER, pytest.param({}, marks=pytest.mark.slow)], ids=["few", "as written"])
def test_debias_your_own_pipeline_runs_and_leaves_a_picture(tmp_path, monkeypatch, fewer):
    """As written, it balances; with few images and steps, it runs, and guidance changes images."""
    (code,) = re.findall(r"## Debias your own pipeline.*?```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    for value, smaller in fewer.items():
        assert code.count(value) == 1
        code = code.replace(value, smaller)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"KMeansModes": KMeansModes})  # the README's own code is what is tested
    with Image.open(tmp_path / "before_after.png") as picture:
        assert picture.size == (16 * 64, 2 * 64)
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255
    tiles = pixels.unfold(1, 64, 64).unfold(2, 64, 64).permute(1, 2, 0, 3, 4)  # row, column, channel, y, x
    before, after = (int((EmojiJudge()(row.contiguous())["gender"].argmax(dim=1) == 0).sum()) for row in tiles)
    assert fewer or abs(after - 8) < abs(before - 8)
    assert not torch.equal(*tiles)
