"""Every `model` entry is composed, loaded from a folder of its real, narrowed architecture, and run through all six stages.

Random weights have no modes: this proves the plumbing alone.
"""

from __future__ import annotations

import json

import pytest

from selfdebias import config
from selfdebias.debiaser import SelfDebias
from selfdebias.job import run_job
from tests.architectures import save_clip, save_model

FOLDER = config.conf_folder()
REAL = sorted(path.stem for path in (FOLDER / "model").glob("*.yaml") if not path.stem.startswith("emoji"))
SMALL = [
    "model.steps=3", "collect.n_images=12", "collect.batch_size=6", "collect.timesteps=2", "generate.n_images=6",
    "generate.batch_size=4", "clustering.k_max=3", "clustering.n_neighbors=[3]", "projector.steps=8", "projector.hidden=16",
    "projector.batch_size=8", "evaluate.bootstrap=20", "evaluate.batch_size=8", "report.images=4", "logger=none",
    "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
]  # fmt: skip
ON_CPU = ["model.device=cpu", "model.dtype=float32"]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    return [save_clip(tmp_path_factory.mktemp(f"clip{seed}"), seed) for seed in (0, 1)]


def run(tmp_path, overrides):
    overrides = [*overrides, f"paths.root={tmp_path / 'runs'}"]
    return run_job(config.load(overrides), overrides)


def with_encoders(encoders):
    return [f"encoder.pretrained={encoders[0]}", f"judge.encoder.pretrained={encoders[1]}"]


@pytest.mark.parametrize("entry", REAL)
def test_all_stages_run_on(entry, tmp_path, encoders):
    folder = save_model(entry, tmp_path / "model")
    more = [f"model={entry}", f"model.pretrained={folder}", *ON_CPU, *with_encoders(encoders), *SMALL]
    job = run(tmp_path, more)
    results = json.loads((job / "results.json").read_text())
    assert set(results["arms"]) == {"vanilla", "guided"}
    for attribute in config.load(more)["prompts"]["attributes"]:
        assert results["arms"]["guided"][attribute]["fd_hard"]["n"] > 0
    assert (job / "report.html").stat().st_size > 10_000
    assert SelfDebias.from_pretrained(job).n_modes == results["modes"]["k"]


@pytest.mark.parametrize("entry", ["emoji", "emoji_ddpm"])
def test_all_stages_run_on_shipped(entry, tmp_path):
    job = run(tmp_path, [f"model={entry}", *SMALL])
    results = json.loads((job / "results.json").read_text())
    assert results["arms"]["guided"]["gender"]["fd_hard"]["n"] > 0
    assert results["prompts"]["text"] == ("an emoji of a person" if entry == "emoji" else "")
