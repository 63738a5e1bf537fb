"""Jobs in processes of their own, which a launcher starts: real ones, of a tiny pipeline."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from selfdebias.jobs.sweeps.record import DONE, NOT_STARTED, RUNNING, STOPPED, SweepFolder
from selfdebias.main import main
from tests import small_jobs
from tests.tiny import tiny_pipeline

pytestmark = pytest.mark.reliability

LOCAL = "hydra/launcher=submitit_local"
DRAWN = [
    "generate.n_images=8", "generate.batch_size=4", "guidance.strength=1,2", "evaluate.bootstrap=50",
    "stages=[collect,discover,project,generate,evaluate]",
]  # fmt: skip
# What Slurm says in a job of two tasks; Lightning would refuse a device more or less, and take the signals to itself.
OF_A_CLUSTER = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "sweep", "SLURM_JOB_ID": "123456",
                "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


def start(model: Path, root: Path, *more: str) -> small_jobs.Job:
    return small_jobs.start(["-m", *small_jobs.command(model, root, *DRAWN, *more)])


def sweep_in(root: Path) -> SweepFolder:
    (folder,) = (root / "sweeps").iterdir()
    return SweepFolder(folder)


def wait_until(true, seconds=90.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_running(root: Path, num: int) -> bool:
    return bool(list(root.glob(f"sweeps/*/{num}/state.json"))) and sweep_in(root).state(num).state == RUNNING


def times_done(root: Path, stage: str) -> int:
    """How often a stage was done, by what the processes of the jobs said."""
    logs = list(root.glob("sweeps/*/.submitit/*/*_log.out"))
    return sum(log.read_text().count(f"\n{stage}: done in") for log in logs)


@pytest.mark.slow
def test_two_processes_make_what_they_share_once_and_one_that_is_killed_hides_no_other(model, tmp_path, monkeypatch):
    for name, value in OF_A_CLUSTER.items():
        monkeypatch.setenv(name, value)
    job = start(model, tmp_path, LOCAL)
    wait_until(lambda: is_running(tmp_path, 0) and is_running(tmp_path, 1))
    sweep = sweep_in(tmp_path)
    assert len({sweep.state(num).process for num in (0, 1)} - {job.pid}) == 2
    os.kill(sweep.state(1).process, signal.SIGKILL)
    said, _ = job.communicate()
    assert job.returncode == 1
    assert [sweep.state(num).state for num in (0, 1)] == [DONE, STOPPED]
    assert "selfdebias: a job was lost" in said and "job 0: done in" in said
    assert "job 1 (strength=2): was interrupted; run the same command again to resume" in " ".join(said.split())
    again = start(model, tmp_path, LOCAL)
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert [sweep.state(num).state for num in (0, 1)] == [DONE, DONE]
    assert [times_done(tmp_path, stage) for stage in ("collect", "discover", "project", "generate/vanilla")] == [1] * 4
    assert times_done(tmp_path, "generate/guided") == 2
    assert "SelfDebias sweep: 2 jobs over strength" in said
    assert (sweep.path / "pareto.png").exists() and json.loads((sweep.path / "results.json").read_text())["rows"]


def test_ctrl_c_ends_the_processes_of_this_computer(model, tmp_path):
    job = start(model, tmp_path, LOCAL)
    wait_until(lambda: is_running(tmp_path, 0))
    job.send_signal(signal.SIGINT)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 130 and said.endswith("selfdebias: interrupted; run the same command again to resume.\n")
    sweep = sweep_in(tmp_path)
    assert RUNNING not in {sweep.state(num).state for num in (0, 1)}
    wait_until(
        lambda: not psutil.pid_exists(sweep.state(0).process), seconds=20
    )  # which writes its state before it ends


@pytest.mark.slow
def test_a_sweep_that_is_killed_shows_what_is_done_and_goes_on(model, tmp_path, capsys):
    job = start(model, tmp_path)
    wait_until(lambda: is_running(tmp_path, 1))
    job.kill()
    job.communicate()
    sweep = sweep_in(tmp_path)
    assert [sweep.state(num).state for num in (0, 1)] == [DONE, STOPPED]
    assert main(["stages=[table]", f"table.root={sweep.path}"]) == 0
    assert "job 1 (strength=2): was interrupted" in " ".join(capsys.readouterr().out.split())
    again = start(model, tmp_path)
    said, _ = again.communicate()
    assert again.returncode == 0 and said.count("collect: found, skipped") == 2
    assert [sweep.state(num).state for num in (0, 1)] == [DONE, DONE]


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_and_no_trial_is_lost_or_made_twice(model, tmp_path):
    search = [
        "guidance=transport", "hydra/sweeper=search", "hydra.sweeper.n_trials=12", "guidance.strength=interval(1,12)",
        "guidance.slack=interval(1,3)", "guidance.temperature=tag(log,interval(0.03,0.3))",
    ]  # fmt: skip
    words = ["-m", *small_jobs.command(model, tmp_path, *DRAWN, *search)]
    job = small_jobs.start(words)
    wait_until(lambda: is_running(tmp_path, 5), seconds=300)
    job.kill()
    job.communicate()
    sweep = sweep_in(tmp_path)
    assert [sweep.state(num).state for num in range(6)] == [DONE] * 5 + [STOPPED]
    again = small_jobs.start(words)
    said, _ = again.communicate()
    assert again.returncode == 0, said
    record = sweep.read()
    assert [sweep.state(num).state for num in range(13)] == [DONE] * 12 + [NOT_STARTED]
    assert len(record["jobs"]) == len({tuple(job) for job in record["jobs"]}) == 12
    assert len({sweep.state(num).job for num in range(12)}) == 12 and "SelfDebias sweep: 12 jobs over" in said
