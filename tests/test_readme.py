"""What the README says is so: its table is that of the committed results, its commands compose, and its ten lines run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.headline import ROWS, table
from experiments.notebook import hashes_in
from experiments.picture import FRAME, GAP, LEFT, PAGES, SIDE, TITLE, Band, caption, draw
from experiments.pooled import RESULTS
from selfdebias.config.compose import load, load_sweep
from selfdebias.config.sources import Sources
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.modes import KMeansModes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EARLIER = RESULTS / "person_encoders.json"  # whose first job the person's images are of
FEWER = {
    '"num_inference_steps": 25': '"num_inference_steps": 4',
    "n_images=256": 'n_images=24, clustering=KMeansModes(k_min=2, k_max=4), projector={"steps": 40}',
}


def test_it_is_short():
    assert len(README.splitlines()) <= 150
    assert len(ROWS) <= 8 and table().splitlines()[1].count("---") <= 6


def test_its_table_is_what_the_committed_results_say():
    (shown,) = re.findall(r"<!-- table: headline -->\n(.*?)<!-- end -->", README, re.DOTALL)
    assert shown == table()
    assert len(re.findall(r"\d\.\d{3} to \d\.\d{3}", shown)) >= 2 * len(ROWS)  # most of its cells are measured


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_stands_below_the_picture_is_what_was_measured_on_its_images(page):
    (shown,) = re.findall(
        r"before_after.png\)\n\n<!-- caption: before_after -->\n(.*?)<!-- end -->", page.read_text(), re.DOTALL
    )
    found = json.loads((RESULTS / "before_after.json").read_text())
    assert shown == caption()
    for row, it in found.items():
        men = {arm: round(100 * it["men"][arm]["value"]) for arm in ("vanilla", "guided")}
        assert f"{men['vanilla']}% to {men['guided']}% of {it['men']['guided']['n']} " in shown, row
    assert len({it["config_hash"] for it in found.values()} & {*hashes_in(json.loads(EARLIER.read_text()))}) == 1


def test_the_picture_is_narrow_enough_for_a_git_host():
    with Image.open(RESULTS / "before_after.png") as picture:
        assert picture.width <= 900 and picture.height < 520


def test_the_picture_frames_the_images_whose_mode_changed():
    images = {"vanilla": torch.zeros(12, 3, 64, 64), "guided": torch.ones(12, 3, 64, 64)}
    drawn = np.array(draw([Band("a cook", images, [column == 1 for column in range(12)])]))
    framed = np.flatnonzero((drawn == FRAME).all(axis=2).any(axis=0))
    assert framed.min() == LEFT + SIDE + GAP - 2 and framed.max() == LEFT + 2 * SIDE + GAP + 1
    assert tuple(drawn[TITLE + GAP + 5, LEFT + 5]) == (0, 0, 0) and tuple(drawn[-GAP * 2 - 5, LEFT + 5]) == (
        255,
        255,
        255,
    )


def test_the_figures_of_its_text_are_those_of_the_results():
    """Age, where gender is balanced: the default's first fit in `person_encoders`."""
    arms = json.loads((RESULTS / "person_encoders.json").read_text())["captions, axes: transport, fit 0"]["arms"]
    before, after = (arms[arm]["age"]["fd_hard"]["value"] for arm in ("vanilla", "guided"))
    predicted = arms["guided"]["composition"]["age"]["predicted_fd_hard"]["value"]
    said = f"(`fd_hard` {before:.3f} to {after:.3f}; the new mix of modes alone predicts {predicted:.3f})"
    assert said in " ".join(README.split())


def test_each_override_composes():
    lines = re.findall(r"^selfdebias (?!-)(.*)$", README, re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        load(shlex.split(line, comments=True))


def test_each_sweep_composes_also_with_the_readers_own_file(tmp_path, monkeypatch):
    (yaml,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "mine.yaml").write_text(yaml)
    lines = re.findall(r"^selfdebias (?:--config-dir (\w+) )?-m (.*)$", README, re.MULTILINE)
    assert {folder for folder, _ in lines} == {"", "mine"}
    for folder, line in lines:
        more = (f"file://{tmp_path / folder}",) if folder else ()
        jobs = load_sweep(shlex.split(line, comments=True), Sources(more=more))
        assert len(jobs) > 1
        assert not folder or all(job.config["guidance"]["slack"] == 2.0 for job in jobs)


def test_each_link_of_the_repository_leads_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


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
