"""A sweep over stand-ins: shared stages are made once, a failed job hides no other, and a stopped sweep goes on."""

from __future__ import annotations

import errno
import json
import shlex
import signal
from pathlib import Path

import pytest

from selfdebias.jobs import run
from selfdebias.jobs.sweeps.record import DONE, FAILED, NOT_STARTED, STOPPED, SweepFolder
from selfdebias.main import main
from selfdebias.storage.atomic import write_json
from tests.report.example import example_results

SIX = ["-m", "guidance.strength=0.2,0.4,0.8", "clustering.k_max=3,4", "logger=none"]


@pytest.fixture
def measured(stand_ins, monkeypatch):
    """Stand-ins whose evaluation leaves real results."""
    module = run.evaluate
    works = module.evaluate

    def evaluate(folder, **arguments):
        works(folder, **arguments)
        write_json(folder / "results.json", example_results(tuple(arguments["arms"])))

    monkeypatch.setattr(module, "evaluate", evaluate)
    return stand_ins


@pytest.fixture
def failing(monkeypatch):
    """Makes a stage raise: `failing(stage, error, after=1)` lets it run once before, and what it returns heals the stage."""

    def fails(stage, error, after=0):
        module, count = getattr(run, stage), [0]
        works = getattr(module, stage)

        def function(**arguments):
            count[0] += 1
            if count[0] > after:
                raise error
            works(**arguments)

        monkeypatch.setattr(module, stage, function)
        return lambda: monkeypatch.setattr(module, stage, works)

    return fails


def the_sweep(root="runs"):
    (folder,) = Path(root, "sweeps").iterdir()
    return SweepFolder(folder.absolute())


def states(count):
    return [the_sweep().state(num).state for num in range(count)]


def count(calls, stage, arm=None):
    return len([call for call in calls if call["stage"] == stage and (arm is None or call["arm"] == arm)])


def test_six_jobs_share_what_has_the_same_key_and_end_with_one_table(measured, capsys):
    assert main(SIX) == 0
    assert count(measured, "collect") == 1
    assert count(measured, "generate", "vanilla") == 1
    assert count(measured, "discover") == 2
    assert count(measured, "generate", "guided") == 6
    out = capsys.readouterr().out
    assert out.count("SelfDebias sweep: 6 jobs over strength, k_max") == 1
    assert out.count("=" * 80) == 2  # no job has printed its own
    assert {file.name for file in the_sweep().path.iterdir() if file.is_file()} == {
        "sweep.json", "table.md", "table.tex", "table.csv", "results.json", "pareto.png", "index.html"
    }  # fmt: skip
    assert states(6) == [DONE] * 6


def test_the_same_command_finds_its_sweep_and_a_look_at_it_is_none_of_its_own(measured, capsys):
    assert main(SIX) == 0
    done = len(measured)
    assert main([*SIX, "table.quality=kid"]) == 0
    assert len(measured) == done
    first = the_sweep().state(0)
    assert (first.state, Path("runs", first.job, "results.json").exists()) == (DONE, True)
    assert main([*SIX[:-1], "generate.seed=3"]) == 0
    assert len(list(Path("runs/sweeps").iterdir())) == 2


def test_a_key_that_is_taken_away_may_stand_before_the_flag(measured, capsys):
    assert main(["~guidance.temperature", "-m", "generate.seed=1,2", "logger=none", "stages=[collect]"]) == 0
    assert "unrecognized arguments" not in capsys.readouterr().err


@pytest.mark.reliability
def test_a_failed_job_is_named_with_its_reason_and_the_others_are_done(measured, failing, capsys):
    failing("generate", RuntimeError("out of memory\nand more"), after=2)  # vanilla, guided of job 0
    assert main(["-m", "guidance.strength=1,2,3", "logger=none"]) == 1
    out, err = capsys.readouterr()
    assert states(3) == [DONE, FAILED, FAILED]
    assert "not in the numbers: job 1 (strength=2): failed: RuntimeError: out of memory" in " ".join(out.split())
    assert "job 2: failed: RuntimeError: out of memory" in err and "Traceback" not in err
    failed = the_sweep().of_job(1)
    assert "RuntimeError: out of memory\nand more" in (failed / "error.txt").read_text()
    assert json.loads((failed / "state.json").read_text())["code"] == 1


@pytest.mark.reliability
def test_a_job_that_failed_is_done_again_and_its_trace_goes(measured, failing, capsys):
    heal = failing("project", RuntimeError("once"))
    command = ["-m", "guidance.strength=1,2", "logger=none"]
    assert main(command) == 1
    assert "no table: no job has numbers" in capsys.readouterr().out
    heal()
    assert main(command) == 0
    assert states(2) == [DONE] * 2 and not list(the_sweep().path.rglob("error.txt"))


def test_what_a_job_finds_wrong_itself_is_its_line_without_a_trace(measured, capsys):
    assert main(["-m", "model.weights=missing,w2", "logger=none"]) == 1
    assert states(2) == [FAILED, DONE]
    found = the_sweep().state(0)
    assert (found.code, found.error) == (2, "`model.weights` must be a file, got 'missing'.")
    assert not (the_sweep().of_job(0) / "error.txt").exists()


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("sent", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_ctrl_c_or_sigterm_stops_the_sweep_which_shows_what_is_done_and_goes_on(
    measured, monkeypatch, capsys, sent, code
):
    deaf = signal.signal(signal.SIGINT, signal.default_int_handler)  # as tests in the background are
    module = run.evaluate
    works, times = module.evaluate, []

    def evaluate(**arguments):
        times.append(1)
        if len(times) == 3:
            signal.raise_signal(sent)
        works(**arguments)

    monkeypatch.setattr(module, "evaluate", evaluate)
    assert main(SIX) == code
    signal.signal(signal.SIGINT, deaf)
    assert capsys.readouterr().err == "selfdebias: interrupted; run the same command again to resume.\n"
    assert states(6) == [DONE, DONE, STOPPED, NOT_STARTED, NOT_STARTED, NOT_STARTED]
    assert main(["stages=[table]", f"table.root={the_sweep().path}"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "job 2 (strength=0.4, k_max=3): was interrupted" in out and "job 5 (strength=0.8, k_max=4): not started" in out
    )
    assert count(measured, "collect") == 1
    assert main(SIX) == 0
    assert states(6) == [DONE] * 6 and count(measured, "collect") == 1


@pytest.mark.reliability
def test_a_full_disk_ends_the_sweep(measured, failing, capsys):
    failing("discover", OSError(errno.ENOSPC, "no space", "somewhere"))
    assert main(SIX) == 1
    err = capsys.readouterr().err.splitlines()
    assert (
        err[-1]
        == "selfdebias: the disk is full at somewhere; free some space, and run the same command again to resume."
    )
    assert states(6) == [FAILED] + [NOT_STARTED] * 5


def test_the_folder_says_what_was_asked_for_without_secrets(measured, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef-secret")
    prompts = "prompts.text='a 0123456789abcdef-secret','a cat'"
    assert main(["-m", prompts, "logger=none"]) == 0
    record = the_sweep().read()
    assert shlex.split(record["command"])[:2] == ["selfdebias", "-m"]
    assert record["swept"] == ["prompts.text"] and len(record["jobs"]) == 2
    assert not [
        file for file in the_sweep().path.rglob("*") if file.is_file() and b"0123456789abcdef-s" in file.read_bytes()
    ]


@pytest.mark.reliability
def test_a_job_that_says_it_runs_while_nobody_holds_it_was_stopped(tmp_path):
    from selfdebias.jobs.sweeps.record import RUNNING, JobState

    sweep = SweepFolder(tmp_path / "sweeps" / "id")
    assert sweep.state(0).state == NOT_STARTED
    with sweep.held(0):
        sweep.write_state(0, JobState(RUNNING))
        assert sweep.state(0).state == RUNNING
    assert sweep.state(0).state == STOPPED


@pytest.mark.manners
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stages=[table]"], "`table.root` must be a folder of a sweep or a root of runs with stages=[table]"),
        (["table.root=runs"], "and null without it, got 'runs'"),
        (
            ["stages=[table]", "table.root=."],
            "`table.root` must be the folder of a sweep, with sweep.json, or a root of runs",
        ),
        (["stages=[table,report]", "table.root=."], "or [table] alone, got 'table'"),
        (["stages=[table]", "table.root=.", "table.pool=generate.seed"], "`table.pool` must be a list of keys"),
    ],
)
def test_a_table_of_nothing_is_one_line(stand_ins, capsys, arguments, words):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


@pytest.mark.manners
def test_a_table_of_jobs_without_numbers_says_why_there_are_none(stand_ins, capsys):
    assert main(["-m", "collect.seed=0,1", "stages=[collect]", "logger=none"]) == 0
    assert "job 0 (seed=0): no stage of it evaluates" in " ".join(capsys.readouterr().out.split())
    assert main(["stages=[table]", f"table.root={the_sweep().path}"]) == 2
    assert "has no job with numbers: job 0: no stage" in capsys.readouterr().err
