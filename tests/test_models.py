"""Every `model` entry is composed, loaded from a folder of its real, narrowed architecture, and run through all six stages.

Random weights have no modes: this proves the plumbing alone.
"""

from __future__ import annotations

import json

import pytest
import yaml
from safetensors.torch import load_file

from selfdebias.config import compose as config
from selfdebias.config import sources
from selfdebias.debiaser import SelfDebias
from selfdebias.jobs.job import run_job
from tests.architectures import save_clip, save_model

FOLDER = sources.conf_folder()
REAL = sorted(path.stem for path in (FOLDER / "model").glob("*.yaml") if not path.stem.startswith("emoji"))
SMALL = [
    "model.steps=3", "collect.n_images=12", "collect.batch_size=6", "collect.timesteps=2", "generate.n_images=6",
    "generate.batch_size=4", "clustering=spectral", "clustering.k_max=3", "clustering.n_neighbors=[3]",
    "projector.steps=8", "projector.hidden=16",
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
    """Two of random weights, of which the judge is to put each image in a class, however unsure it is."""
    return [f"encoder.pretrained={encoders[0]}", f"judge.encoder.pretrained={encoders[1]}", "judge.threshold=0"]


ONE_OF_EACH = {"sd15", "ddpm_cat", "sd3_medium"}  # with text, without, and a transformer


@pytest.mark.parametrize("entry", [pytest.param(it, marks=[pytest.mark.slow] * (it not in ONE_OF_EACH)) for it in REAL])
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


OWN_SAMPLER = ["model.scheduler.name=null", "model.scheduler.options=null"]  # a model without prompts has no PNDM


QUICK = {("paper_tuned", "ddpm_celebahq")}  # `paper` runs below
METHODS = [
    pytest.param(preset, entry, marks=[] if (preset, entry) in QUICK else pytest.mark.slow)
    for preset in ("paper", "official", "paper_tuned")
    for entry in ("sd14", "sd15", "sd2", "ddpm_celebahq")
]


@pytest.mark.parametrize(("preset", "entry"), METHODS)
def test_the_papers_method_runs_on(preset, entry, tmp_path, encoders):
    folder = save_model(entry, tmp_path / "model")
    sampler = OWN_SAMPLER if entry.startswith("ddpm") else []
    own = [
        *ON_CPU,
        *with_encoders(encoders),
        *(it for it in SMALL if "clustering=" not in it and ("k_max" not in it or preset != "official")),
        *sampler,
    ]
    job = run(
        tmp_path, [f"experiment={preset}", f"model={entry}", f"model.pretrained={folder}", "guidance.eta=10", *own]
    )
    results = json.loads((job / "results.json").read_text())
    assert set(results["arms"]) == {"vanilla", "guided"} and (job / "report.html").stat().st_size > 10_000
    edits = json.loads((job / "job.json").read_text())["stages"]["generate/guided"]
    traces = [load_file(path) for path in sorted((tmp_path / "runs" / edits).glob("batch-*.safetensors"))]
    assert traces and all(float(trace["edit_norm"].max()) > 0 and int(trace["skipped"]) == 0 for trace in traces)


def test_the_papers_faces_run_with_a_negative_prompt_of_the_users(tmp_path, encoders):
    folder = save_model("sd15", tmp_path / "model")
    (tmp_path / "negative.txt").write_text("a, b")
    more = [f"model.pretrained={folder}", f"model.negative_prompt_file={tmp_path / 'negative.txt'}"]
    small = [it for it in SMALL if not it.startswith("clustering=")]  # the preset's own
    job = run(tmp_path, ["experiment=[paper,paper/faces]", *more, *ON_CPU, *with_encoders(encoders), *small])
    assert json.loads((job / "results.json").read_text())["prompts"]["text"].startswith("a photo of a person")
    stored = yaml.safe_load((job / "config.yaml").read_text())
    assert stored["model"]["negative_prompt"] == "a, b" and str(tmp_path) not in (job / "config.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("model", "text"), [("emoji_dit", "an emoji of a person"), ("emoji_ddpm", "")])
def test_all_stages_run_on_the_other_shipped_models(tmp_path, model, text):
    """Those of the UNet with prompts are in `tests/test_quickstart.py`."""
    job = run(tmp_path, [f"model={model}", *SMALL])
    results = json.loads((job / "results.json").read_text())
    assert results["arms"]["guided"]["gender"]["fd_hard"]["n"] > 0
    assert results["prompts"]["text"] == text
