"""Refuses each connection that leaves this computer, so that no test can depend on one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

LOOPBACK = ("127.", "::1", "localhost")


def refusing(connect: Callable[..., Any]) -> Callable[..., Any]:
    """Return `socket.socket.connect` with a check of the address before it."""

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise OSError(f"a test tried to connect to {address[0]}")
        return connect(self, address)

    return guarded
