"""A job in two processes: what it makes, what stops it, what it refuses, and that nothing is lost or doubled."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from selfdebias.config.overrides import options_of
from selfdebias.config.sources import Sources
from selfdebias.jobs.failures import STOPPED
from selfdebias.jobs.parts import default
from selfdebias.jobs.processes import _why
from selfdebias.main import main
from selfdebias.storage.atomic import TEMPORARY
from selfdebias.storage.batches import BatchFolder
from tests import small_jobs
from tests.tiny import tiny_pipeline

DRAWN = ["generate.n_images=7", "generate.batch_size=3"]
LEVEL = 1.5 / 255  # images are kept with 8 bits, and a difference of 1e-6 may be rounded another way


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


def command(model: Path, root: Path, *more: str) -> list[str]:
    return small_jobs.command(model, root, *DRAWN, *more)


def start(model: Path, root: Path, *more: str) -> small_jobs.Job:
    return small_jobs.start(command(model, root, *more))


def workers(job: small_jobs.Job) -> list[psutil.Process]:
    """The two processes of a job, the first one first."""
    found = [child for child in psutil.Process(job.pid).children() if "selfdebias" in child.cmdline()]
    return sorted(found, key=lambda child: child.pid)


def wait_for(job: small_jobs.Job, root: Path, pattern: str) -> None:
    while not list(root.glob(pattern)):
        assert job.poll() is None, job.said()
        time.sleep(0.02)


def images_of(root: Path) -> dict[str, torch.Tensor]:
    """Images of each image folder by the stage's path; reading them checks each hash, and that no id is doubled."""
    folders = sorted(path.parent for path in root.glob("stages/*/*/manifest-0.jsonl"))
    return {str(path.relative_to(root)): BatchFolder.open(path).images() for path in folders}


def same_images(first: Path, second: Path) -> bool:
    one, other = images_of(first), images_of(second)
    assert one.keys() == other.keys() and len(one) == 4  # collect, its reference, and two arms
    assert not [path for root in (first, second) for path in root.glob("stages/*/*/manifest-1.jsonl")]
    assert not list(second.rglob(f"{TEMPORARY}*"))
    return all(float((images - other[name]).abs().max()) < LEVEL for name, images in one.items())


@pytest.fixture(scope="module")
def one(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("one")
    assert main(command(model, root)) == 0
    return root


@pytest.fixture(scope="module")
def two(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    job = start(model, root, "trainer=ddp")
    said = job.communicate()[0]
    assert job.returncode == 0, said
    return root, said


@pytest.mark.slow
def test_a_whole_job_in_two_processes_is_that_of_one(one, two):
    root, said = two
    assert same_images(one, root)
    assert said.count("collect: done") == said.count("evaluate: done") == said.count("report: done") == 1  # one speaks
    written = [json.loads(path.read_text()) for path in root.glob("stages/generate/*/generate.json")]
    assert [facts["processes"] for facts in written] == [2, 2]


@pytest.mark.slow
def test_what_is_found_wrong_late_is_said_once(model, two):
    root, _ = two
    (modes,) = root.glob("stages/discover/*/modes.json")
    other = 5 - json.loads(modes.read_text())["k"]  # 2 and 3 can be found
    target = f"guidance.target={[1 / other] * other}"
    job = start(model, root, "trainer=ddp", target)
    said = job.communicate()[0]
    assert job.returncode == 2, said
    assert said.count("`guidance.target` must be") == 1 and said.splitlines()[-1].startswith("selfdebias: ")


@pytest.mark.slow
@pytest.mark.reliability
def test_killed_and_gone_on_with_by_two_and_by_one(model, one, tmp_path):
    """Once the process that watches the others, which then end by themselves; once one of the others; then one does all."""
    job = start(model, tmp_path, "trainer=ddp")
    wait_for(job, tmp_path, "stages/collect/*/manifest-1.jsonl")
    left = workers(job)
    assert len(left) == 2
    job.kill()
    job.wait()
    assert psutil.wait_procs(left, timeout=60)[1] == []
    job = start(model, tmp_path, "trainer=ddp")
    wait_for(job, tmp_path, "stages/generate/*/manifest-1.jsonl")
    workers(job)[1].kill()
    said = job.communicate()[0]
    assert job.returncode == 1
    assert said.splitlines()[-1] == "selfdebias: process 1 was killed by SIGKILL; run the same command again to resume."
    assert main(command(model, tmp_path)) == 0
    assert same_images(one, tmp_path)


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_sigterm_stops_all_and_says_how_to_go_on(model, tmp_path, sent, code):
    job = start(model, tmp_path, "trainer=ddp", "collect.n_images=64")
    wait_for(job, tmp_path, "stages/collect/*/manifest-1.jsonl")
    left = workers(job)
    job.send_signal(sent)
    said = job.communicate()[0]
    assert job.returncode == code, said
    assert said.splitlines()[-1] == "selfdebias: interrupted; run the same command again to resume."
    assert not [process for process in left if process.is_running()]


def failed(rank, exitcode):
    return ChildFailedError("selfdebias", {rank: ProcessFailure(rank, 1, exitcode, "")})


def test_of_several_errors_the_users_own_is_said(tmp_path):
    """A process whose disk is full takes the others with it, who lose their connection; whoever is gone first."""
    assert _why(failed(0, 1), tmp_path) == (1, "selfdebias: process 0 failed, as said above.")
    words = "selfdebias: process 1 was killed by SIGKILL; run the same command again to resume."
    assert _why(failed(1, -9), tmp_path) == (1, words)
    (tmp_path / "0").write_text(json.dumps([143, STOPPED]))  # ended since the other one was killed
    assert _why(failed(1, -9), tmp_path) == (1, words)
    assert _why(failed(0, 143), tmp_path) == (143, STOPPED)
    for rank, outcome in enumerate([[0, ""], [1, "selfdebias: the disk is full"], [1, "selfdebias: the disk is full"]]):
        (tmp_path / str(rank)).write_text(json.dumps(outcome))
    assert _why(failed(0, 1), tmp_path) == (1, "selfdebias: the disk is full")
    (tmp_path / "0").write_text(json.dumps([143, STOPPED]))
    assert _why(failed(0, 1), tmp_path) == (1, "selfdebias: the disk is full")


SPLIT = [
    "self_debias", "transport", "mean_difference", "gradient_descent", "random", "mean_transport", "particle", "cads", "dc",
    "classifier",
]  # fmt: skip
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "selfdebias"]
STAGES = "stages=[collect,discover,project,generate]"


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return tmp_path_factory.mktemp("split_one"), tmp_path_factory.mktemp("split_two")


@pytest.mark.slow
@pytest.mark.parametrize("guidance", SPLIT)
def test_each_guidance_that_splits_makes_the_images_of_one_process(model, split, guidance):
    alone, ranks = split
    more = [f"guidance={guidance}", STAGES, *(["bank=supervised"] if guidance == "classifier" else [])]
    words = [
        text for text in command(model, alone, *more) if not text.startswith("guidance.decay")
    ]  # which not all have
    assert main(words) == 0
    words = [text if "paths.root" not in text else f"paths.root={ranks}" for text in words]
    done = subprocess.run([*TORCHRUN, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, two = images_of(alone), images_of(ranks)
    assert one.keys() == two.keys()
    assert all(float((images - two[name]).abs().max()) < LEVEL for name, images in one.items())


def test_all_guidances_that_split_are_compared():
    options = {*options_of("guidance", Sources().folders)} - {
        "none",
        "random",
        "attribute_prompts",
    }  # made with another one
    splits = {name for name in options if default("guidance", name).splits}
    assert splits <= {*SPLIT}


@pytest.mark.slow
def test_ranks_that_torchrun_started_are_taken_as_they_are(model, one, tmp_path):
    done = subprocess.run([*TORCHRUN, *command(model, tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert same_images(one, tmp_path) and done.stdout.count("evaluate: done") == 1
    done = subprocess.run([*TORCHRUN, "-m", "generate.seed=1,2"], capture_output=True, text=True, check=False)
    assert "`-m` cannot be started by torchrun or srun" in done.stderr


@pytest.mark.manners
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trainer.devices=2"], "`trainer.devices` must be 1 without trainer=ddp, got 2"),
        (["trainer=ddp", "trainer.devices=0"], "`trainer.devices` must be a whole number of at least 1, got 0"),
        (["trainer=ddp", "trainer.strategy=fsdp"], "`trainer.strategy` must be ddp (trainer=ddp), or auto"),
        (["trainer=ddp", "+trainer.num_nodes=2"], "`trainer.num_nodes` must be 1 for a job that runs (--cfg job composes any)"),
        (["trainer=ddp", "generate.n_images=1"], "`trainer.devices` must be at most 1, the images of `generate.n_images`"),
        (["trainer=ddp", "collect.batch_size=1"], "must be at most 1, the images of `collect.batch_size`"),
        (
            ["trainer=ddp", "stages=[evaluate]", "evaluate.folders=[pictures]"],
            "`trainer.devices` must be 1 for `evaluate.folders`",
        ),
        (["-m", "trainer=ddp", "generate.seed=1,2"], "`trainer.devices` must be 1 in a sweep"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused_in_one_line(stand_ins, capsys, arguments, words):
    Path("pictures").mkdir()
    Image.new("RGB", (8, 8)).save("pictures/0.png")
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert words in err and err.startswith("selfdebias: ") and err.count("\n") == 1 and out == ""
    assert stand_ins == []


def test_a_model_that_is_bound_to_one_of_several_devices_is_refused(capsys):
    assert main(["trainer=ddp", "model.device='cuda:1'"]) == 2
    assert "`model.device` must be a kind of device, such as cuda, on several" in capsys.readouterr().err


def test_a_guidance_that_reads_rows_of_other_images_is_refused_on_several_devices(capsys):
    assert main(["trainer=ddp", "guidance=interleaved"]) == 2
    assert "`trainer.devices` must be 1 with a guidance whose batch cannot be split" in capsys.readouterr().err


def test_one_device_of_ddp_is_one_process(stand_ins):
    assert main(["trainer=ddp", "trainer.devices=1", "stages=[collect]"]) == 0
    assert stand_ins[0]["trainer"].keywords | {"strategy": "auto", "devices": 1} == stand_ins[0]["trainer"].keywords
    assert "collective" not in stand_ins[0]
