"""A collective over real processes, by torch's process group on the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from selfdebias.guidance.state import Collective

TIMEOUT = timedelta(days=1)  # for the others at one step; a process that dies ends the wait at once


@contextmanager
def process_group(store: Any, name: object, part: int, among: int) -> Iterator[Collective]:
    """Open torch's default process group for the body.

    Args:
        store: a `torch.distributed.TCPStore` that all processes are connected to.
        name: of the group; each one that is opened over a store has its own.
        part: index of this process.
        among: number of processes.
    """
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this computer, and nobody else is to connect
    own = dist.PrefixStore(f"group-{name}", store)
    dist.init_process_group("gloo", store=own, rank=part, world_size=among, timeout=TIMEOUT)
    try:
        yield ProcessCollective(part, among)
    finally:
        dist.destroy_process_group()


class ProcessCollective(Collective):
    """The processes of torch's default group, or the first ones of them.

    What is gathered is small (assignments, norms), and goes through gloo on the CPU whatever the device.

    Args:
        part: index of this process.
        among: number of processes.
        group: a group of torch's; None for the default one.
    """

    def __init__(self, part: int, among: int, group: Any = None):
        self.part, self.among, self._group = part, among, group
        self._first: dict[int, Collective] = {among: self}

    def gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """See `Collective.gather`."""
        own = rows.detach().cpu()
        counts = [int(n) for n in self._all(torch.tensor(len(own)))]
        padded = own.new_zeros(max(counts), *own.shape[1:])
        padded[: len(own)] = own
        kept = [part[:n] for part, n in zip(self._all(padded), counts, strict=True)]
        start = sum(counts[: self.part])
        return torch.cat(kept).to(rows.device), slice(start, start + len(own))

    def sum(self, values: Tensor) -> Tensor:
        """See `Collective.sum`."""
        return torch.stack(self._all(values.detach().cpu())).sum(dim=0).to(values.device)

    def any(self, value: bool) -> bool:
        """See `Collective.any`."""
        return any(bool(each) for each in self._all(torch.tensor(value, dtype=torch.uint8)))

    def first(self, count: int) -> Collective:
        """See `Collective.first`."""
        count = min(count, self.among)
        if count not in self._first:
            self._first[count] = ProcessCollective(self.part, count, dist.new_group(list(range(count)), TIMEOUT))
        return self._first[count]

    def _all(self, values: Tensor) -> list[Tensor]:
        """Return the values of each process, which have one shape."""
        found = [torch.empty_like(values) for _ in range(self.among)]
        dist.all_gather(found, values.contiguous(), group=self._group)
        return found
