"""Watches what this process does to the computer: processes that it starts, sockets that it opens, files that it touches."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "pty.spawn")
SOCKETS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto")


@dataclass
class Seen:
    """What happened while somebody watched.

    Attributes:
        processes: command lines that were started.
        sockets: addresses that were asked for.
        files: paths that were opened.
    """

    processes: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


_watching: list[Seen] = []


def _audit(event: str, arguments: tuple) -> None:
    for seen in _watching:
        if event in PROCESSES:
            seen.processes.append(f"{event} {arguments[0]!r} {arguments[1:2]!r}")
        elif event in SOCKETS:
            seen.sockets.append(f"{event} {arguments[1:]!r}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            seen.files.append(os.fsdecode(arguments[0]))


sys.addaudithook(_audit)  # which stays for good, and does nothing while nobody watches


@contextmanager
def watched() -> Iterator[Seen]:
    """Gives what happens in the body."""
    seen = Seen()
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)
