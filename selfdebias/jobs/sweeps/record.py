"""The folder of a sweep: which jobs it has, and how far each of them came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from selfdebias.storage.atomic import write_json

RECORD, STATE, ERROR, LOCK, STOP = "sweep.json", "state.json", "error.txt", "job.lock", "stop"
NOT_STARTED, RUNNING, STOPPED, DONE, FAILED = "not started", "running", "stopped", "done", "failed"
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
        held = self._is_held(num)  # before it is read: what a job writes last, it writes while it holds the lock
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
            print(f"job {num}: another process is at it, waiting", flush=True)
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
