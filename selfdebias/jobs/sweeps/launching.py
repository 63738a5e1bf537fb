"""Starts the jobs of a sweep by a launcher of Hydra's: one after the other, in processes of this computer, or on a cluster."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread

from selfdebias.config.compose import SweepJob, load_sweep
from selfdebias.config.keys import digest
from selfdebias.config.rules import refuse
from selfdebias.config.schema import TABLE
from selfdebias.jobs.early_checks import check_early, check_writable
from selfdebias.jobs.failures import LaunchError
from selfdebias.jobs.processes import wants_several
from selfdebias.jobs.sweeps.finished import fairness_of
from selfdebias.jobs.sweeps.launchers import (
    BASIC,
    LOCAL,
    check_settings,
    cores_shared,
    hand_over,
    is_lost_job,
    launcher_of,
    settings_of,
)
from selfdebias.jobs.sweeps.record import (
    DONE,
    FAILED,
    NOT_OF_JOBS,
    NOT_STARTED,
    RUNNING,
    STOP,
    DiskFullError,
    SweepFolder,
    run_numbered,
)
from selfdebias.storage.hidden import redacted_command

GRACE = 20.0  # seconds in which processes that were told to stop may do so
STARTS = 60.0  # seconds in which a job that was handed to a launcher starts, unless it waits in a queue
LOOKS = 0.5  # seconds from one look at the states to the next


def run_sweep(overrides: Sequence[str]) -> int:
    """Checks each job of a sweep, runs all of them, and makes their table.

    Args:
        overrides: The command line without -m.

    Returns:
        The exit code: 0 if all jobs are done, else 1.

    Raises:
        ConfigError: If one of the jobs cannot run; none is then started.
        LaunchError: If the launcher failed before any job began.
        OSError: If the jobs run in this process and the disk is full.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, once the jobs of this computer have ended.
    """
    settings = settings_of(overrides)
    launcher = launcher_of(settings)
    check_settings(settings, launcher)
    jobs = load_sweep(overrides)
    root = _checked(jobs, launcher)
    sweep = sweep_of(root, [job.overrides for job in jobs])
    asked = [[redacted_command(text) for text in job.overrides] for job in jobs]
    sweep.start(redacted_command(shlex.join(["selfdebias", "-m", *overrides])), asked)
    trouble = _launch(sweep, settings, launcher, [job.overrides for job in jobs])
    from selfdebias.jobs.sweeps.table import write_table

    code = write_table(sweep.path, jobs[0].config["table"])
    if trouble:
        print(f"selfdebias: {trouble}", file=sys.stderr)
    return code


def sweep_of(root: Path, jobs: Sequence[Sequence[str]]) -> SweepFolder:
    """The folder of a sweep: the same jobs have the same one, whatever their table shows.

    Example:
        >>> strengths = [["guidance.strength=3"], ["guidance.strength=6"]]
        >>> with_table = [[*job, "table.quality=kid"] for job in strengths]
        >>> sweep_of(Path("runs"), strengths).path == sweep_of(Path("runs"), with_table).path
        True
    """
    own = [[text for text in job if not text.lstrip("+").startswith(NOT_OF_JOBS)] for job in jobs]
    return SweepFolder(Path(root).absolute() / "sweeps" / digest(own))


def _checked(jobs: Sequence[SweepJob], launcher: str) -> Path:
    """The root of runs of all jobs, which must be one.

    Raises:
        ConfigError: If a job cannot be one of a sweep.
    """
    for config in (job.config for job in jobs if launcher == BASIC):
        if wants_several(config):
            words = "1 in a sweep, which runs its jobs in this one process: start them one by one, without -m"
            raise refuse("trainer.devices", words, config["trainer"]["devices"])
    roots = list(dict.fromkeys(job.config["paths"]["root"] for job in jobs))
    if len(roots) > 1:
        raise refuse("paths.root", "one folder in a sweep", roots)
    for job in jobs:
        if job.config["stages"] == [TABLE]:
            raise refuse("stages", "other than [table] with -m, which makes a table at its end", [TABLE])
        fairness_of(job.config["table"], job.config["prompts"]["attributes"])
    check_writable(Path(roots[0]))
    for job in jobs if launcher == BASIC else ():  # elsewhere there may be other devices
        check_early(job.config)
    return Path(roots[0])


def _launch(sweep: SweepFolder, settings: Sequence[str], launcher: str, jobs: list[list[str]]) -> str:
    """Runs all jobs; returns a line about those that ended without saying why, "" where there are none."""
    task = partial(run_numbered, folder=str(sweep.path), place=str(Path.cwd()), submitted=launcher != BASIC)
    if launcher != BASIC:
        return _launch_elsewhere(sweep, settings, launcher, jobs, task)
    try:
        for job in hand_over(sweep.path, settings, jobs, task):
            _ = job.return_value  # raises what a fault of the recording itself raised
    except DiskFullError as error:
        raise error.__cause__ or error from None
    return ""


def _launch_elsewhere(
    sweep: SweepFolder, settings: Sequence[str], launcher: str, jobs: list[list[str]], task: partial[None]
) -> str:
    """The same in processes that a launcher starts."""
    print(f"{len(jobs)} jobs go to {launcher}; what they say is in {sweep.path / '.submitit'}", flush=True)
    before = starts(sweep, len(jobs))
    try:
        with progress_told(sweep, len(jobs)), cores_shared(len(jobs) if launcher == LOCAL else 1):
            try:
                hand_over(sweep.path, settings, jobs, task)
            except Exception as error:
                line = " ".join(str(error).split())
                if not is_lost_job(error) and starts(sweep, len(jobs)) == before:
                    raise LaunchError(f"{launcher} started no job: {line or type(error).__name__}") from error
                print("a job was lost; waiting for the others", flush=True)  # which may be at work
                wait_for_others(sweep, len(jobs))
                return f"a job was lost: {line}"
    except KeyboardInterrupt:
        if launcher == LOCAL:
            stop_jobs(sweep, len(jobs))
        raise
    return ""


def starts(sweep: SweepFolder, jobs: int) -> list[str]:
    """When each job last started, "" for one that never did: equal to what it was before where none has begun since."""
    return [sweep.state(num).started for num in range(jobs)]


@contextmanager
def progress_told(sweep: SweepFolder, jobs: int) -> Iterator[None]:
    """Prints a line each time that a job starts or ends, as long as the body runs.

    Args:
        sweep: The sweep.
        jobs: Number of its jobs.
    """
    end = Event()
    before = starts(sweep, jobs)
    thread = Thread(target=_tell, args=(sweep, before, end), daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _tell(sweep: SweepFolder, before: list[str], end: Event) -> None:
    said = [""] * len(before)
    last = False
    while not last:
        last = end.wait(LOOKS)  # and once more after the end
        for num, old in enumerate(before):
            state = sweep.state(num)
            if state.started == old or state.state == said[num]:  # of an earlier command, or said
                continue
            said[num] = state.state
            more = {DONE: f" in {state.seconds:.1f} s, {sweep.root / state.job}", FAILED: f": {state.error}"}
            print(f"job {num}: {state.state}{more.get(state.state, '')}", flush=True)


def stop_jobs(sweep: SweepFolder, jobs: int) -> None:
    """Ends the jobs that run in processes of this computer, and returns once they are gone."""
    (sweep.path / STOP).touch()  # for those that have not begun
    end = time.monotonic() + GRACE
    told: set[int] = set()
    while time.monotonic() < end:
        running = [state for state in map(sweep.state, range(jobs)) if state.state == RUNNING]
        for state in running:
            if state.process not in told and state.host == platform.node():
                with suppress(ProcessLookupError):
                    os.kill(state.process, signal.SIGTERM)
                told.add(state.process)
        if not running:
            return
        time.sleep(LOOKS)


def wait_for_others(sweep: SweepFolder, jobs: int) -> None:
    """Returns once no job runs any more; one that has not begun is waited for only a while, since it may be in a queue."""
    begun = time.monotonic()
    while True:
        states = {sweep.state(num).state for num in range(jobs)}
        if RUNNING not in states and (NOT_STARTED not in states or time.monotonic() > begun + STARTS):
            return
        time.sleep(LOOKS)
