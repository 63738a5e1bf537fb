"""What a job says before it runs, and while it does: images in a terminal, lines at the start and end of a stage elsewhere."""

from __future__ import annotations

import io
import re
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl

from selfdebias.config.compose import load
from selfdebias.jobs import progress
from selfdebias.jobs.announcements import start_in_words, untold_in_words
from selfdebias.jobs.job import _announce
from selfdebias.jobs.progress import StageBar, StageLines, with_progress
from selfdebias.jobs.sweeps.record import SweepFolder
from selfdebias.main import main
from tests import small_jobs
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def terminal(monkeypatch):
    """Makes the captured output a terminal once it is called, as pytest captures each test anew."""
    return lambda: monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


def command(model, root, *more):
    words = small_jobs.command(model, root, "stages=[collect]", *more)
    return [text.replace("progress_bar=false", "progress_bar=true") for text in words]


def test_progress_in_a_terminal_counts_images_with_the_time_that_is_left(model, tmp_path, terminal, capsys):
    terminal()
    assert main(command(model, tmp_path)) == 0
    out = capsys.readouterr().out
    counted = re.findall(r"(\d+)/16 images \|.{30}\| \d\d:\d\d, (\S+) left", out)
    assert [*dict.fromkeys(images for images, _ in counted)] == ["0", "4", "8", "12", "16"]
    assert re.fullmatch(r"\d\d:\d\d", counted[-1][1])  # once there is something to tell it from
    assert out.rstrip().splitlines()[-2].endswith("(16 images)") and "it/s" not in out and "Predicting" not in out


def test_an_interrupted_bar_ends_its_line(model, tmp_path, terminal, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    terminal()
    monkeypatch.setattr(StageBar, "on_predict_batch_end", interrupt)
    assert main(command(model, tmp_path)) == 130
    out, err = capsys.readouterr()
    assert out.endswith(" left\n") and err.startswith("selfdebias: interrupted")


def test_progress_elsewhere_is_one_line_at_the_start_and_one_at_the_end_of_a_stage(model, tmp_path, capsys):
    assert main(command(model, tmp_path)) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("collect")]
    assert lines[0] == "collect ..." and re.fullmatch(r"collect: done in [\d.]+ s \(16 images\)", lines[1])
    assert len(lines) == 2 and "\r" not in out and "/16" not in out


def test_a_long_stage_says_in_a_log_how_far_it_is(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EACH", 0.0)
    assert main(command(model, tmp_path)) == 0
    lines = re.findall(r"^  (\d+)/16 images, (\d+) min left$", capsys.readouterr().out, re.M)
    assert lines == [("4", "1"), ("8", "1"), ("12", "1")]


def test_a_line_of_a_log_tells_the_time_from_what_this_run_sampled(capsys, monkeypatch):
    clock = iter([0.0, 30.0, 90.0, 100.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    folder = SimpleNamespace(ids=lambda: range(8))
    sampler = SimpleNamespace(prompts=range(32), batches=[range(4)] * 8, folder=folder)
    trainer, lines = SimpleNamespace(is_global_zero=True), StageLines()
    lines.on_predict_start(trainer, sampler)
    for batch in (2, 3, 4):
        lines.on_predict_batch_end(trainer, sampler, None, batch)
    assert capsys.readouterr().out == "  16/32 images, 3 min left\n"


def test_a_bar_is_there_where_somebody_sees_it_and_wants_it(terminal, monkeypatch):
    terminal()
    (bar,) = with_progress(partial(pl.Trainer)).keywords["callbacks"]
    assert isinstance(bar, StageBar)
    quiet = partial(pl.Trainer, enable_progress_bar=False)
    assert with_progress(quiet) is quiet
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    elsewhere = with_progress(partial(pl.Trainer)).keywords
    assert elsewhere["enable_progress_bar"] is False and isinstance(elsewhere["callbacks"][0], StageLines)


def test_what_starts_is_said_in_a_terminal_before_anything_slow_and_elsewhere_once_all_is_checked(
    stand_ins, monkeypatch, capsys
):
    refused = ["guidance.temperature=-1", "logger=none"]
    assert main(refused) == 2 and capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(refused) == 2
    said = capsys.readouterr().out
    assert said.startswith('starts: "an emoji of a person", 512 images to find modes in') and "collect" not in said
    assert main(["stages=[collect]", "logger=none"]) == 0
    assert capsys.readouterr().out.count("starts: ") == 1


def test_what_starts_names_prompts_arms_and_folders():
    words = {
        ("prompts=emoji_occupations", "generate.n_images=96"): "20 prompts, each with 512 images",
        ("guidance=random",): "then 128 vanilla and 128 guided and 128 random",
        ("guidance=none",): "then 128 vanilla",
        ("stages=[discover]",): 'starts: "an emoji of a person", discover',
        ("evaluate.folders=[a,b]", "stages=[evaluate]"): "starts: evaluation of a, b",
        ("model=emoji_ddpm", "prompts=unconditional"): "starts: no prompt, ",
    }
    for overrides, text in words.items():
        said = start_in_words(load([*overrides]))
        assert text in " ".join(" ".join(said).split()) and len(said) <= 3 and max(map(len, said)) <= 80, said


def test_one_batch_is_said_to_be_too_few_for_an_interval_before_it_is_drawn(stand_ins, capsys):
    assert main(["generate.n_images=32", "generate.batch_size=32", "logger=none"]) == 0
    out = capsys.readouterr().out
    assert "guided: one batch of 32 images gives no interval; generate.n_images=64 gives two\n" in out
    assert out.index("one batch") < out.index("collect ...")
    assert main(["generate.n_images=32", "generate.batch_size=32", "logger=none"]) == 0
    assert "one batch" not in capsys.readouterr().out  # nothing is sampled any more


def test_what_gives_an_interval_is_known_for_each_way_that_images_depend_on_each_other():
    def untold(*overrides):
        return untold_in_words(load([*overrides]))

    one = ["generate.n_images=16", "generate.batch_size=32"]
    assert untold() == [] == untold("guidance=none", *one) == untold("stages=[collect,discover]", *one)
    assert untold(*one) == ["guided: one batch of 16 images gives no interval; generate.n_images=64 gives two"]
    assert untold("guidance=random", *one)[0].startswith("guided, random: one batch of 16 images")
    together = (
        "guided: one run gives no interval, since each batch depends on the one before; three runs give one: "
        "-m generate.seed=1,2,3"
    )
    assert " ".join(" ".join(untold("guidance.closed_loop=true")).split()) == together
    assert "three runs give one" in " ".join(untold("guidance=self_debias", "guidance.decay=0.9"))
    assert untold("guidance=attribute_prompts", *one)[0].startswith("guided: one batch")  # its images are sampled alone
    assert untold("guidance.closed_loop=true", *one)[0].startswith("guided: one batch of 16")  # decay is not the reason


def test_a_remainder_that_one_batch_leaves_to_the_next_is_said_before_the_run():
    def untold(*overrides):
        return " ".join(" ".join(untold_in_words(load([*overrides]))).split())

    known = ["clustering=spectral", "clustering.k=3"]
    always = (
        "guided: one run gives no interval, since each batch depends on the one before; three runs give one: "
        "-m generate.seed=1,2,3"
    )
    assert untold(*known) == always and untold(*known, "guidance.decay=0") == ""
    assert untold(*known, "generate.batch_size=30") == "" == untold("generate.batch_size=2")
    assert untold("generate.batch_size=5") == always  # the sides of an axis
    assert "before (unless 32, the batch size, is a multiple of the number of modes);" in untold("clustering=spectral")
    assert "seed=7,8,9" in untold(*known, "generate.seed=7")
    assert untold(*known, "guidance.target=[0.5,0.25,0.25]") == ""


def test_a_job_ends_with_its_picture_and_its_page(stand_ins, capsys):
    assert main(["logger=none"]) == 0
    last = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in last[-2:]] == ["picture", "report"] and last[-2].endswith("first.png")


def test_a_text_that_the_terminal_cannot_show_ends_no_job(stand_ins, monkeypatch):
    from selfdebias.jobs import outcome

    monkeypatch.setattr(outcome, "render_outcome", lambda job, encoding: f"医生 █ in {encoding}")
    said = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(said, encoding="ascii"))
    assert main(["logger=none"]) == 0
    assert said.getvalue().decode("ascii").endswith("?? ? in ascii\n")


def test_a_sweep_over_seeds_is_not_told_to_become_one(tmp_path, capsys):
    config = load(["guidance.closed_loop=true", f"paths.root={tmp_path}"])
    assert untold_in_words(config) and untold_in_words(config, has_seeds=True) == []
    few = load(["guidance.closed_loop=true", "generate.n_images=16"])
    assert untold_in_words(few, has_seeds=True) == untold_in_words(few)  # one batch is said all the same
    for name, key in (("seeds", "generate.seed"), ("strengths", "guidance.strength")):
        SweepFolder(tmp_path / "sweeps" / name).start("selfdebias -m", [[f"{key}={it}"] for it in (1, 2)])
    said = {}
    for sweep in ("", "seeds", "strengths"):
        _announce(config, False, sweep)
        said[sweep] = "one run gives no interval" in capsys.readouterr().out
    assert said == {"": True, "seeds": False, "strengths": True}
