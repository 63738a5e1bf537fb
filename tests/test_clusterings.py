"""Every clustering and every space in a whole job with few images; the images are drawn once."""

from __future__ import annotations

import json
import shlex

import pytest
import torch

from selfdebias.config import sources
from selfdebias.main import main
from selfdebias.storage.batches import BatchFolder

SMALL = [
    "collect.n_images=32", "collect.batch_size=16", "collect.timesteps=6", "generate.n_images=6", "generate.batch_size=6",
    "model.steps=6", "projector.steps=20", "report.images=2", "trainer.enable_progress_bar=false", "logger=none",
]  # fmt: skip
OPTIONS = sorted(path.stem for path in (sources.conf_folder() / "clustering").glob("*.yaml"))
PROJECTED = ["clustering.space=projected", "projector.balanced=false"]
SMALLER = {
    "two_stage": ["clustering.min_size=4"],
    "axes": ["clustering.factors=[2,3]", "clustering.halves=2", "clustering.restarts=2"],
    "hdbscan": ["clustering.min_cluster_size=4", "clustering.min_samples=2"],
}
JOBS = {
    **{option: [f"clustering={option}", *SMALLER.get(option, [])] for option in OPTIONS},
    "stability": ["clustering=spectral", "clustering.choice=stability"],
    "residual": ["clustering=spectral", "clustering.space=residual"],
    "projected": ["clustering=spectral", *PROJECTED],
    "projected two_stage": ["clustering=two_stage", *SMALLER["two_stage"], *PROJECTED],
    "one mode": ["clustering=spectral", "clustering.k=1"],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("clusterings")


def finished(root, overrides):
    """Runs a job; returns its folder and its record."""
    assert main([*SMALL, f"paths.root={root}", *overrides]) == 0
    command = shlex.join(["selfdebias", *SMALL, f"paths.root={root}", *overrides])
    jobs = [(job, json.loads((job / "job.json").read_text())) for job in (root / "jobs").iterdir()]
    return next(item for item in jobs if item[1]["command"] == command)


QUICK = ("axes",)
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in JOBS if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_a_whole_job_runs(root, name):
    job, record = finished(root, JOBS[name])
    results = json.loads((job / "results.json").read_text())
    found = json.loads((root / record["stages"]["discover"] / "modes.json").read_text())
    axes = len(found.get("axes", []))
    assert results["modes"]["k"] == found["k"] == len(found["depths"]) and sum(found["sizes"]) == 32 * max(1, axes)
    assert axes or found["sizes"] == sorted(found["sizes"], reverse=True)
    assert (job / "bank.safetensors").exists()
    drawn = {
        arm: BatchFolder.open(root / record["stages"][f"generate/{arm}"]).images() for arm in ("vanilla", "guided")
    }
    assert torch.equal(drawn["vanilla"], drawn["guided"]) == (found["k"] == 1)
    table = (job / "table.md").read_text()
    assert ("One mode: nothing to balance" in table) == (found["k"] == 1)


def test_one_mode_is_one_in_the_table_and_has_a_reason_on_the_card(root):
    job, _ = finished(root, JOBS["one mode"])
    assert "1 mode found on 32 other images" in (job / "table.md").read_text()
    assert "| silhouette of the modes | one mode: nothing to balance |" in (job / "README.md").read_text()
