"""What ends a job: Ctrl-C, SIGTERM, which Slurm, `docker stop` and `timeout` send, or an error; and the exit code and the one line
that the command line answers with."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfdebias.config.rules import ConfigError
from selfdebias.storage import StorageError

STOPPED = "selfdebias: interrupted; run the same command again to resume."
OF_THE_DISK = (errno.EIO, errno.ESTALE, errno.EBUSY, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG)
OUTCOMES = "SELFDEBIAS_OUTCOMES"  # the folder in which the processes of a job that was started here say how they ended


class LaunchError(Exception):
    """A launcher started no job of a sweep; one line says why."""


class RanksFailedError(Exception):
    """A job of several processes failed, and these have said why.

    Args:
        code: exit code of the job.
        line: what was wrong.
    """

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


class Ended(BaseException):
    """What ended a job that Hydra runs; no `Exception`, of which Hydra would say several lines of its own."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def explained(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the line for what a user can do something about; None for a fault of the program.

    Example:
        >>> explained(ConfigError("`seed` must be a whole number, got x."))
        (2, 'selfdebias: `seed` must be a whole number, got x.')
        >>> explained(KeyboardInterrupt())[0], explained(TypeError("a fault"))
        (130, None)
    """
    if isinstance(error, RanksFailedError):
        return error.code, str(error)
    if isinstance(error, ConfigError):
        return 2, f"selfdebias: {error}"
    if isinstance(error, StorageError | LaunchError):
        return 1, f"selfdebias: {error}"
    if disk_is_full(error):
        where = f" at {error.filename}" if isinstance(error.filename, str) else ""  # type: ignore[attr-defined]
        return 1, f"selfdebias: the disk is full{where}; free some space, and run the same command again to resume."
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        where = f" {error.filename}" if isinstance(error.filename, str) else " a file"
        return (
            1,
            f"selfdebias: the disk refused{where} ({error.strerror}); once that is mended, run the same command again to resume.",
        )
    code = exit_code(error)
    return None if code is None else (code, STOPPED)


def disk_is_full(error: BaseException) -> bool:
    """Whether there was no space left, or no more of it is allowed."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; whoever knows Ctrl-C takes it for that."""


@contextmanager
def sigterm_as_ctrl_c(unless_handled: bool = False) -> Iterator[None]:
    """Ends the body on SIGTERM as on Ctrl-C; elsewhere than in the main thread, which alone may say so, nothing changes.

    Without it Lightning's Trainer only notes the signal; it calls a handler that was there before its own.

    Args:
        unless_handled: Whether a handler that the program has set stays in place.

    Raises:
        Terminated: Once the signal comes; later ones (`timeout` sends two) do not disturb the shutdown.
    """
    handled = unless_handled and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    if handled or threading.current_thread() is not threading.main_thread():
        yield
        return
    came = threading.Event()

    def stop(*_: Any) -> None:
        if not came.is_set():
            came.set()
            raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_code(stop: BaseException) -> int | None:
    """The exit code of what ended a job: 130 for Ctrl-C, 143 for SIGTERM, None for anything else.

    Lightning makes a `SystemExit` of either while it runs.

    Example:
        >>> exit_code(KeyboardInterrupt()), exit_code(Terminated()), exit_code(SystemExit(1))
        (130, 143, None)
    """
    cause = stop.__context__ if isinstance(stop, SystemExit) else stop
    if isinstance(cause, Terminated):
        return 143
    return 130 if isinstance(cause, KeyboardInterrupt) else None


def is_rank() -> bool:
    """Whether this process is one of several that torchrun, srun or `run_in_processes` started."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys() and int(
        os.environ["WORLD_SIZE"]
    ) > 1


def tell_outcome(code: int, line: str) -> bool:
    """Tells the process that started this one how it ended; False where that one does not ask for it."""
    if OUTCOMES not in os.environ or not is_rank():
        return False
    Path(os.environ[OUTCOMES], os.environ["RANK"]).write_text(json.dumps([code, line]))
    return True
