"""What ends a job from outside: Ctrl-C, and SIGTERM, which Slurm, `docker stop` and `timeout` send."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOPPED = "selfdebias: stopped; the same command goes on from here."


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; whoever knows Ctrl-C takes it for that."""


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Ends the body on SIGTERM as on Ctrl-C; elsewhere than in the main thread, which alone may say so, nothing changes.

    Without it Lightning's Trainer only notes the signal; it calls a handler that was there before its own.

    Raises:
        Terminated: Once the signal comes; later ones (`timeout` sends two) do not disturb the shutdown.
    """
    if threading.current_thread() is not threading.main_thread():
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
