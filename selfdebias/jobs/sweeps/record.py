"""The folder of a sweep: which jobs it has, how far each of them came, and how they are watched, stopped and waited for."""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from threading import Event, Thread
from typing import Any

from filelock import FileLock, Timeout

from selfdebias.storage.atomic import write_json
from selfdebias.storage.hidden import redacted_command, redacted_word

RECORD, STATE, ERROR, LOCK, STOP = "sweep.json", "state.json", "error.txt", "job.lock", "stop"
NOT_STARTED, RUNNING, STOPPED, DONE, FAILED = "not started", "running", "stopped", "done", "failed"
GRACE = 20.0  # seconds in which processes that were told to stop may do so
STARTS = 60.0  # seconds in which a job that was handed to a launcher starts, unless it waits in a queue
LOOKS = 0.5  # seconds from one look at the states to the next
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

    def start(self, command: str, jobs: Sequence[Sequence[str]], objectives: Sequence[str] = ()) -> None:
        """Writes which jobs there are; what is known of them from an earlier command stays.

        Args:
            command: What was asked for.
            jobs: Overrides of each job; of a search those of the ends, since its jobs are proposed one after the other, and `add`
                tells each.
            objectives: Names of the numbers that a search is for.
        """
        (self.path / STOP).unlink(missing_ok=True)
        own = [[redacted_word(text) for text in job] for job in jobs]
        record = {"command": redacted_command(command), "jobs": own, "swept": swept(own)}
        if objectives:
            before = self.read()["jobs"] if (self.path / RECORD).exists() else []
            record |= {"jobs": before, "objectives": list(objectives)}
        write_json(self.path / RECORD, record)

    def add(self, num: int, overrides: Sequence[str]) -> None:
        """Records a job of a search, by its number."""
        record = self.read()
        jobs = record["jobs"] + [[]] * (num + 1 - len(record["jobs"]))
        jobs[num] = [redacted_word(text) for text in overrides]
        write_json(self.path / RECORD, {**record, "jobs": jobs})

    def read(self) -> dict[str, Any]:
        """The `command`, the `jobs` (overrides of each), the keys that are `swept`; of a search its `objectives`."""
        return json.loads((self.path / RECORD).read_text())

    def varies(self, key: str) -> bool:
        """Whether its jobs differ in a key; False where nothing is recorded."""
        return (self.path / RECORD).exists() and key in self.read()["swept"]

    def of_job(self, num: int) -> Path:
        """The folder of a job, by its number from 0."""
        return self.path / str(num)

    def state(self, num: int) -> JobState:
        """How far a job came; one that says it is running while nobody holds its lock was stopped."""
        file = self.of_job(num) / STATE
        if not file.exists():
            return JobState()
        held = self._is_held(num)  # before it is read: what a job writes last, it writes while it holds the lock
        said = JobState(**json.loads(file.read_text()))
        return replace(said, state=STOPPED) if said.state == RUNNING and not held else said

    def states(self) -> list[JobState]:
        """How far each job came, of a search each that was proposed."""
        return [self.state(num) for num in range(len(self.read()["jobs"]))]

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

    def _is_held(self, num: int) -> bool:
        lock = FileLock(self.of_job(num) / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False


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


@contextmanager
def progress_told(sweep: SweepFolder) -> Iterator[None]:
    """Prints a line each time that a job starts or ends, as long as the body runs."""
    end = Event()
    thread = Thread(target=_tell, args=(sweep, sweep.states(), end), daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _tell(sweep: SweepFolder, said: list[JobState], end: Event) -> None:
    last = False
    while not last:
        last = end.wait(LOOKS)  # and once more after the end
        now = sweep.states()
        for num, (state, old) in enumerate(zip_longest(now, said, fillvalue=JobState())):
            more = {DONE: f" in {state.seconds:.1f} s, {sweep.root / state.job}", FAILED: f": {state.error}"}
            if state != old:
                print(f"job {num}: {state.state}{more.get(state.state, '')}", flush=True)
        said = now


def stop_jobs(sweep: SweepFolder) -> None:
    """Ends the jobs that run in processes of this computer, and returns once they are gone."""
    (sweep.path / STOP).touch()  # for those that have not begun
    end = time.monotonic() + GRACE
    told: set[int] = set()
    while time.monotonic() < end:
        running = [state for state in sweep.states() if state.state == RUNNING]
        for state in running:
            if state.process not in told and state.host == platform.node():
                with suppress(ProcessLookupError):
                    os.kill(state.process, signal.SIGTERM)
                told.add(state.process)
        if not running:
            return
        time.sleep(LOOKS)


def wait_for_others(sweep: SweepFolder) -> None:
    """Returns once no job runs any more; one that has not begun is waited for only a while, since it may be in a queue."""
    begun = time.monotonic()
    while True:
        states = {state.state for state in sweep.states()}
        if RUNNING not in states and (NOT_STARTED not in states or time.monotonic() > begun + STARTS):
            return
        time.sleep(LOOKS)
