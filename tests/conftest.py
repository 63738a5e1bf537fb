"""Keeps every test offline, single-threaded and without a display."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["MPLBACKEND"] = "Agg"

import gc
import json
import logging
import shutil
import socket
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from tests.offline import refusing

PAINTED = {"report", "test_golden.py", "test_quickstart.py", "test_table.py"}  # folders and files that look at figures


def pytest_collection_finish():
    """Leaves what has been imported out of each later garbage collection, which takes half of a small job's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _figures_unpainted(request):
    """Makes figures without painting them where no test looks at them, which takes a third of a small job's time."""
    with pytest.MonkeyPatch.context() as patch:
        if not PAINTED & set(request.path.relative_to(Path(__file__).parent).parts):
            patch.setattr("matplotlib.figure.Figure.savefig", _save_a_square)
        yield


def _save_a_square(self, file, **options):
    Image.new("RGB", (8, 8)).save(file, format="PNG")


@pytest.fixture(autouse=True)
def _no_network(request, monkeypatch):
    """Refuses each connection that leaves this computer, so that no test can depend on one."""
    if request.node.get_closest_marker("hub"):
        return
    monkeypatch.setattr(socket.socket, "connect", refusing(socket.socket.connect))


@pytest.fixture(autouse=True)
def _logging_set_back():
    """Takes back what Hydra sets up for logging, which a command leaves as it is, since its process ends."""
    loggers = [logging.getLogger(), logging.getLogger("hydra")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """The command line over parts and stages that weigh nothing; gives the list of calls that the stages had.

    The plug-in in `tests/plugin` registers the parts; `conf/` is the real one but for the groups with heavy parts.
    """
    from selfdebias.config import sources
    from selfdebias.config.schema import STAGES
    from selfdebias.jobs import run

    monkeypatch.syspath_prepend(Path(__file__).parent / "plugin")
    folder = _stand_in_conf(sources.conf_folder(), tmp_path / "conf")
    monkeypatch.setattr(sources, "conf_folder", lambda: folder)
    monkeypatch.chdir(tmp_path)
    calls: list[dict] = []
    for name in STAGES:
        module = ModuleType(f"stand_in_{name}")
        vars(module).update(vars(getattr(run, name)))
        module.VERSION, module.CONFIG = 1, KEYS[name]
        setattr(module, name, _stand_in_stage(name, calls))
        monkeypatch.setattr(run, name, module)
    monkeypatch.setattr("selfdebias.jobs.job._log", lambda *_: None)  # stand-ins leave no figures to log
    monkeypatch.setattr("selfdebias.jobs.job.gather_debiaser", lambda *_: None)  # and no projector
    monkeypatch.setattr("selfdebias.jobs.job.first_look", lambda *_: Image.new("RGB", (8, 2)))  # nor images
    return calls


KEYS = {
    "collect": ("model", "encoder", "prompts.text", "prompts.templates", "collect"),
    "discover": ("clustering", "discover"),
    "project": ("projector", "trainer", "project"),
    "generate": ("model", "guidance", "schedule", "prompts.text", "prompts.templates", "generate"),
    "evaluate": ("judge", "encoder", "metrics", "prompts", "evaluate"),
    "report": ("report",),
}
PARTS = {
    "model": "{_target_: stand_ins.parts.Model, weights: w1, steps: 50}",
    "encoder": "{_target_: stand_ins.parts.Encoder, device: cpu}",
    "projector": "{_target_: stand_ins.parts.Projector, _partial_: true, width: 8}",
    "clustering": "{_target_: stand_ins.parts.Clustering, k_min: 2, k_max: 8, n_neighbors: [10], random_state: 0}",
    "guidance": "{_target_: stand_ins.parts.Guidance, strength: 0.5, temperature: 0.1, target: null}",
    "judge": "{_target_: stand_ins.parts.Judge}",
    "metrics": "{_target_: stand_ins.parts.Metrics}",
}


def _stand_in_conf(real, folder):
    folder.mkdir()
    shutil.copy(real / "config.yaml", folder)
    for group in (
        "collect",
        "generate",
        "prompts",
        "bank",
        "vocabulary",
        "schedule",
        "trainer",
        "logger",
        "paths",
        "hydra",
    ):
        shutil.copytree(real / group, folder / group)
    for line in (real / "config.yaml").read_text().splitlines():
        group, _, option = line.strip().removeprefix("- ").partition(": ")
        if line.startswith("  - ") and group in PARTS:
            (folder / group).mkdir()
            (folder / group / f"{option}.yaml").write_text(PARTS[group])
    (folder / "clustering" / "spectral.yaml").write_text(PARTS["clustering"])  # which some banks ask for
    (folder / "guidance" / "none.yaml").write_text("_target_: stand_ins.parts.NoGuidance")
    random = "defaults: [transport@of]\n_target_: stand_ins.parts.RandomGuidance\nbranch: cond"
    (folder / "guidance" / "random.yaml").write_text(random)
    return folder


def _stand_in_stage(name, calls):
    def stage(folder, **arguments):
        calls.append({"stage": name, **arguments})
        if name in ("collect", "generate"):
            ids = list(range(arguments["n_images"]))
            line = {"batch": 0, "ids": ids, "records": [{"id": i} for i in ids], "files": {}, "config_hash": ""}
            (folder / "manifest-0.jsonl").write_text(json.dumps(line) + "\n")
        (folder / "metrics.jsonl").write_text(f'{{"stage": "{name}"}}\n')
        if name == "evaluate":
            (folder / "results.json").write_text('{"arms": {}}')
        if name == "report":
            (folder / "report.html").write_text("<html>")
            (folder / "figures").mkdir(exist_ok=True)
            Image.new("RGB", (8, 2)).save(folder / "figures" / "first.png")
            (folder / "table.md").write_text("| a |")

    return stage
