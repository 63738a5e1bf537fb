"""Waits for jobs that a launcher runs elsewhere, says how they are doing, and stops those of this computer."""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from selfdebias.jobs.sweeps.record import DONE, FAILED, NOT_STARTED, RUNNING, STOP, SweepFolder

GRACE = 20.0  # seconds in which processes that were told to stop may do so
STARTS = 60.0  # seconds in which a job that was handed to a launcher starts, unless it waits in a queue
LOOKS = 0.5  # seconds from one look at the states to the next


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
