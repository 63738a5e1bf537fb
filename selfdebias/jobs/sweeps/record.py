"""The folder of a sweep: which jobs it has and how far each of them came; and how one of them runs, and its outcome is recorded."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from selfdebias.config.compose import load
from selfdebias.config.targets import check_names
from selfdebias.jobs.commands import outcome
from selfdebias.jobs.early_checks import check_early
from selfdebias.jobs.failures import disk_is_full, explained, sigterm_as_ctrl_c
from selfdebias.jobs.processes import run_in_processes, wants_several
from selfdebias.storage.atomic import write_json, write_text
from selfdebias.storage.hidden import redacted_command

RECORD, STATE, ERROR, LOCK, STOP = "sweep.json", "state.json", "error.txt", "job.lock", "stop"
NOT_STARTED, RUNNING, STOPPED, DONE, FAILED = "not started", "running", "stopped", "done", "failed"
PREFIX = "selfdebias: "  # of a line that says what was wrong
NOT_OF_JOBS = ("table.", "paths.")  # keys that make no other job: how the table looks, and where the folders are


@dataclass(frozen=True)
class JobState:
    """How far a job came.

    Attributes:
        state: `NOT_STARTED`, `RUNNING`, `STOPPED`, `DONE` or `FAILED`.
        job: its folder under the root of runs, such as jobs/<hash>; "" where none is known.
        code: its exit code, 0 unless it failed.
        error: what was wrong, in one line.
        seconds: from its start to its end.
        process: id of its process, on the computer called `host`.
    """

    state: str = NOT_STARTED
    job: str = ""
    code: int = 0
    error: str = ""
    seconds: float = 0.0
    started: str = ""
    process: int = 0
    host: str = ""


class SweepFolder:
    """`<root>/sweeps/<id>`: `sweep.json`, and a folder for each job with its `state.json`.

    Args:
        path: The folder; making the object touches no disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def root(self) -> Path:
        """The root of runs that its jobs are in."""
        return self.path.parents[1]

    def start(self, command: str, jobs: Sequence[Sequence[str]]) -> None:
        """Writes which jobs there are; what is known of them from an earlier command stays.

        Args:
            command: What was asked for, without secrets.
            jobs: Overrides of each job.
        """
        (self.path / STOP).unlink(missing_ok=True)
        write_json(self.path / RECORD, {"command": command, "jobs": [list(job) for job in jobs], "swept": swept(jobs)})

    def read(self) -> dict[str, Any]:
        """The `command`, the `jobs` (overrides of each) and the keys that are `swept`."""
        return json.loads((self.path / RECORD).read_text())

    def of_job(self, num: int) -> Path:
        """The folder of a job, by its number from 0."""
        return self.path / str(num)

    def state(self, num: int) -> JobState:
        """How far a job came; one that says it is running while nobody holds its lock was stopped."""
        file = self.of_job(num) / STATE
        if not file.exists():
            return JobState()
        lock, held = FileLock(self.of_job(num) / LOCK), False
        try:  # before it is read: what a job writes last, it writes while it holds the lock
            lock.acquire(timeout=0)
            lock.release()
        except Timeout:
            held = True
        said = JobState(**json.loads(file.read_text()))
        return replace(said, state=STOPPED) if said.state == RUNNING and not held else said

    def write_state(self, num: int, state: JobState) -> None:
        """Records how far a job came."""
        write_json(self.of_job(num) / STATE, asdict(state))

    @contextmanager
    def held(self, num: int) -> Iterator[None]:
        """Holds a job for this process; waits for another one that runs it. The lock is freed however its holder dies."""
        self.of_job(num).mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.of_job(num) / LOCK)
        try:
            lock.acquire(timeout=1)  # who reads its state holds it for a moment
        except Timeout:
            print(f"job {num}: locked by another process, waiting", flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def values_of(overrides: Sequence[str]) -> dict[str, str]:
    """The value of each key of a job, as text.

    Example:
        >>> values_of(["guidance.strength=3", "+clustering.k=2", "prompts.text='a = b'"])
        {'guidance.strength': '3', 'clustering.k': '2', 'prompts.text': "'a = b'"}
    """
    pairs = [text.lstrip("+").partition("=") for text in overrides]
    return {key: value for key, _, value in pairs}


def swept(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys in which the jobs of a sweep differ, in their order.

    Example:
        >>> swept([["logger=none", "guidance.strength=3"], ["logger=none", "guidance.strength=6"]])
        ['guidance.strength']
    """
    values = [values_of(job) for job in jobs]
    keys = dict.fromkeys(key for job in values for key in job if not key.startswith(NOT_OF_JOBS))
    return [key for key in keys if len({job.get(key) for job in values}) > 1]


class DiskFullError(BaseException):
    """The disk is full, which ends the whole sweep; no `Exception`, since Hydra would go on with the next job."""


class JobFailedError(Exception):
    """A job of several processes failed, and these have said why: its exit code, and what was wrong."""


def run_numbered(_: Any, folder: str, place: str, submitted: bool) -> None:
    """Runs the job whose number Hydra gives, and records what became of it.

    Args:
        folder: The sweep's, absolute.
        place: The folder in which the sweep was started, which relative paths are meant from.
        submitted: Whether the job has a process of its own, which a launcher started.

    Raises:
        DiskFullError: If the jobs share this process and there is no space left.
        KeyboardInterrupt: On Ctrl-C or SIGTERM.
    """
    from hydra.core.hydra_config import HydraConfig

    num, sweep = int(HydraConfig.get().job.num), SweepFolder(Path(folder))
    os.chdir(place)
    if submitted:
        os.environ["SLURM_JOB_NAME"] = "bash"  # Lightning then leaves processes and signals of the cluster alone
    if submitted and (sweep.path / STOP).exists():
        return
    overrides = [str(text) for text in HydraConfig.get().overrides.task]
    print(f"\njob {num}: {shlex.join(overrides)}", flush=True)
    with sigterm_as_ctrl_c(), sweep.held(num):
        error = _record(sweep, num, overrides)
    if error is not None and disk_is_full(error) and not submitted:
        raise DiskFullError from error


def _record(sweep: SweepFolder, num: int, overrides: Sequence[str]) -> Exception | None:
    """Runs a job, and writes its state before and after; returns the error of a job that failed."""
    begun, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    state = JobState(RUNNING, started=begun, process=os.getpid(), host=platform.node())
    (sweep.of_job(num) / ERROR).unlink(missing_ok=True)
    sweep.write_state(num, state)
    try:
        job = _run(sweep, overrides)
    except Exception as error:
        code, line = _failure(error)
        with contextlib.suppress(OSError):  # the disk may be full
            if explained(error) is None and not isinstance(error, JobFailedError):
                write_text(sweep.of_job(num) / ERROR, redacted_command(traceback.format_exc()))
            seconds = round(time.monotonic() - start, 1)
            sweep.write_state(
                num, replace(state, state=FAILED, code=code, error=redacted_command(line), seconds=seconds)
            )
        print(f"job {num}: failed: {line}", file=sys.stderr, flush=True)
        return error
    except BaseException:
        sweep.write_state(num, replace(state, state=STOPPED))
        raise
    seconds = round(time.monotonic() - start, 1)
    sweep.write_state(num, replace(state, state=DONE, job=job, seconds=seconds))
    print(f"job {num}: done in {seconds:.1f} s, {sweep.root / job}", flush=True)
    return None


def _run(sweep: SweepFolder, overrides: Sequence[str]) -> str:
    """Runs a job, under the sweep's name in W&B; returns its folder, as a path under the root of runs."""
    config = load(overrides)
    check_names(config)
    check_early(config)  # before the slow imports
    if not wants_several(config):
        from selfdebias.jobs.job import run_job

        return str(run_job(config, overrides, group=sweep.path.name).relative_to(config["paths"]["root"]))
    if config["logger"].get("group", "") is None:
        overrides = [*overrides, f"logger.group={sweep.path.name}"]
    code, line = run_in_processes(outcome, overrides, config["trainer"]["devices"])
    if code:
        raise JobFailedError(code, line)
    # The processes do not say which folder they wrote: the newest one of this command line.
    command = redacted_command(shlex.join(["selfdebias", *overrides]))
    files = [it for it in sweep.root.glob("jobs/*/job.json") if json.loads(it.read_text())["command"] == command]
    return str(max(files, key=lambda file: file.stat().st_mtime).parent.relative_to(sweep.root))


def _failure(error: Exception) -> tuple[int, str]:
    """Exit code and one line of an error."""
    if isinstance(error, JobFailedError):
        code, line = error.args
        return code, " ".join(line.removeprefix(PREFIX).split())
    known = explained(error)
    if known is None:
        lines = str(error).strip().splitlines()
        return 1, f"{type(error).__name__}{': ' + lines[0] if lines else ''}"
    return known[0], known[1].removeprefix(PREFIX)
