"""A job that is killed, starved of disk or raced by another loses nothing and doubles nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from selfdebias.backbones import StableDiffusionBackbone
from selfdebias.main import main
from selfdebias.storage.atomic import TEMPORARY
from selfdebias.storage.batches import BatchFolder
from tests import small_jobs
from tests.jobs.stages.world import backbone, run_collect
from tests.tiny import tiny_pipeline

pytestmark = pytest.mark.reliability

DRAWN = ["generate.n_images=8", "generate.batch_size=2"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


def command(model: Path, root: Path, *more: str) -> list[str]:
    return small_jobs.command(model, root, *DRAWN, *more)


def start(model: Path, root: Path, *more: str) -> small_jobs.Job:
    return small_jobs.start(command(model, root, *more))


def images_of(root: Path) -> dict[str, torch.Tensor]:
    """Images of each image folder by the stage's path; reading them checks each hash, and that no id is doubled."""
    folders = sorted(path.parent for path in root.glob("stages/*/*/manifest-0.jsonl"))
    return {str(path.relative_to(root)): BatchFolder.open(path).images() for path in folders}


@pytest.fixture(scope="module")
def undisturbed(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    assert small_jobs.start(["--version"]).wait() == 0  # the imports are done
    began = time.monotonic()
    job = start(model, root)
    assert job.wait() == 0, job.said()
    return root, time.monotonic() - began


def tensors_of(root: Path) -> dict[str, str]:
    """The sha256 of each file of tensors that the stages left, by its path."""
    found = sorted(root.glob("stages/*/*/*.safetensors"))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def assert_undisturbed(root: Path, found: Path) -> None:
    """The images and the files of tensors of two roots are the same, and no half of a file is left."""
    expected, images = images_of(root), images_of(found)
    assert expected.keys() == images.keys() and len(expected) == 4  # collect, its reference, and two arms
    for name, own in expected.items():
        assert torch.equal(own, images[name]), name
    assert tensors_of(root) == tensors_of(found) and len(tensors_of(root)) > 10
    assert not list(found.rglob(f"{TEMPORARY}*"))


def kill_once(model: Path, root: Path, seconds: float) -> int | None:
    """Starts a job and kills it after some seconds: how many stages were finished; None if the job was faster."""
    job = start(model, root)
    time.sleep(seconds)
    if job.poll() is not None:
        assert job.returncode == 0, job.said()
        job.communicate()
        return None
    marks = len(list(root.glob("stages/*/*/stage.json")))
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    return marks


@pytest.mark.slow
def test_three_kills_at_random_times_and_the_same_images_in_the_end(model, undisturbed, tmp_path):
    root, seconds = undisturbed
    chance = random.Random(7)
    stopped_in = {kill_once(model, tmp_path, seconds * (0.1 + 0.5 * (kill + chance.random()) / 3)) for kill in range(3)}
    last = start(model, tmp_path)
    assert last.wait() == 0, last.said()
    assert_undisturbed(root, tmp_path)
    assert len(stopped_in - {None}) >= 2  # the kills came at different places


@pytest.mark.slow
def test_a_hundred_kills_at_random_times_and_the_same_images_in_the_end(model, undisturbed, tmp_path):
    root, seconds = undisturbed
    chance, kills, stopped_in, number = random.Random(11), 0, set(), 0
    while kills < 100:
        number += 1
        done = False
        while not done and kills < 100:
            marks = kill_once(model, tmp_path / str(number), seconds * chance.uniform(0.05, 0.95))
            done, kills = marks is None, kills + (marks is not None)
            stopped_in.add(marks)
        last = start(model, tmp_path / str(number))
        assert last.wait() == 0, last.said()
        assert_undisturbed(root, tmp_path / str(number))
    assert len(stopped_in - {None}) >= 5


@pytest.mark.parametrize(
    "call", ["replace", *(pytest.param(call, marks=pytest.mark.slow) for call in ("fsync", "fdopen"))]
)
def test_a_failure_at_any_write_or_rename_is_survived(model, tmp_path, monkeypatch, call):
    """Fails the n-th call, for each n, and then goes on: the images are those of an undisturbed run."""
    pipeline = backbone(model).load()
    monkeypatch.setattr(StableDiffusionBackbone, "load", lambda _: pipeline)  # which writes nothing, and takes its time
    expected = BatchFolder.open(run_collect(model, tmp_path / "whole", n_images=4, batch_size=2)).images()
    real, n = getattr(os, call), 0
    while True:
        count = {"calls": 0}

        def failing(*arguments, limit=n, count=count, **named):
            count["calls"] += 1
            if count["calls"] == limit + 1:
                raise OSError(errno.EIO, "injected")
            return real(*arguments, **named)

        root = tmp_path / f"{call}-{n}"
        monkeypatch.setattr(os, call, failing)
        try:
            run_collect(model, root, n_images=4, batch_size=2)
            reached = False
        except OSError:
            reached = True
        monkeypatch.setattr(os, call, real)
        run_collect(model, root, n_images=4, batch_size=2)
        store = BatchFolder.open(root / "collect")
        assert store.ids() == [0, 1, 2, 3] and torch.equal(store.images(), expected)
        if not reached:
            break
        n += 1
    assert n >= 7  # four images, two tensor files and collect.json at least


def damage(root: Path, how: str) -> Path:
    """Damages a file of the vanilla arm; returns its stage folder."""
    (folder,) = [
        path.parent for path in root.glob("stages/generate/*/generate.json")
        if json.loads(path.read_text())["arm"] == "vanilla"
    ]  # fmt: skip
    shard = folder / "batch-00001.safetensors"
    picture = folder / "images" / "000003.png"
    if how == "a truncated shard":
        shard.write_bytes(shard.read_bytes()[:-7])
    else:
        data = bytearray(picture.read_bytes())
        data[len(data) // 2] ^= 1
        picture.write_bytes(data)
    return folder


@pytest.mark.parametrize("how", ["a truncated shard", "a flipped byte"])
def test_damage_is_found_and_said_in_one_line_and_nothing_else_is_touched(model, undisturbed, tmp_path, capsys, how):
    root = Path(shutil.copytree(undisturbed[0], tmp_path / "runs"))
    folder = damage(root, how)
    for stage in ("evaluate", "report"):  # both would read it again
        shutil.rmtree(root / "stages" / stage)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(command(model, root)) == 1
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("selfdebias: ")]
    assert len(err) == 1 and str(folder) in err[0]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    shutil.rmtree(folder)
    assert main(command(model, root)) == 0
    for name, images in images_of(undisturbed[0]).items():
        assert torch.equal(images, images_of(root)[name])


@pytest.mark.slow
def test_two_processes_on_the_same_job_make_each_stage_once(model, undisturbed, tmp_path):
    jobs = [start(model, tmp_path) for _ in range(2)]
    said = [job.communicate()[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    assert sum(text.count("collect: done") for text in said) == 1
    assert sum(text.count("generate/guided: done") for text in said) == 1
    for name, images in images_of(undisturbed[0]).items():
        assert torch.equal(images, images_of(tmp_path)[name])


def test_a_full_disk_is_said_in_one_line_and_the_same_command_goes_on(model, undisturbed, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small tmpfs here")
    try:
        assert main(command(model, disk / "runs")) == 1
        err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("selfdebias: ")]
        assert len(err) == 1 and "the disk is full" in err[0] and "run the same command again" in err[0]
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert main(command(model, disk / "runs")) == 0
        for name, images in images_of(undisturbed[0]).items():
            assert torch.equal(images, images_of(disk / "runs")[name])
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_sigterm_in_the_middle_says_how_to_go_on(model, tmp_path, sent, code):
    job = start(model, tmp_path, "collect.n_images=64")
    while not list(tmp_path.glob("stages/collect/*/manifest-0.jsonl")):
        assert job.poll() is None, job.said()
        time.sleep(0.05)
    for _ in range(1 if sent is signal.SIGINT else 2):  # as `timeout` does
        job.send_signal(sent)
    said = job.communicate()[0]
    assert job.returncode == code, said
    assert said.splitlines()[-1] == "selfdebias: interrupted; run the same command again to resume."
