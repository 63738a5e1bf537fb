"""A job on several devices: one process for each, started and watched by torchrun's agent, here or by a user's own `torchrun` or
`srun`, and what these share.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from selfdebias.guidance.collective import ALONE, Collective
from selfdebias.jobs.failures import OUTCOMES, STOPPED, RanksFailedError, Terminated, is_rank

DRAW, DONE = "draw", "done"  # what the first process tells the others of a stage: to take part, or to go on
DAYS = 30  # that a process waits for the first one, which evaluates alone


class Processes:
    """One process, which runs the whole job. `SeveralProcesses` has the same methods.

    Attributes:
        rank: index of this process, from 0; the first one writes and speaks, and runs the stages that cannot be shared.
        world_size: number of processes.
    """

    rank, world_size = 0, 1

    def broadcast(self, stage: str, word: str = "") -> str:
        """What the first process says of a stage: it gives the word, the others wait for it."""
        return word or DONE

    @contextmanager
    def together(self) -> Iterator[Collective]:
        """What the processes share while all of them are in this context."""
        yield ALONE


class SeveralProcesses(Processes):
    """This process among those that run a job.

    Between the contexts of `together` there is no process group, so that metrics which the first process computes alone
    wait for nobody.

    Args:
        store: of torch's, that all processes are connected to.
        rank: index of this process, from 0.
        world_size: number of processes, at least 2.
    """

    def __init__(self, store: Any, rank: int, world_size: int) -> None:
        self._store, self.rank, self.world_size, self._times = store, rank, world_size, 0

    def broadcast(self, stage: str, word: str = "") -> str:
        """See `Processes.broadcast`."""
        if self.rank == 0:
            self._store.set(stage, word)
            return word
        return self._store.get(stage).decode()

    @contextmanager
    def together(self) -> Iterator[Collective]:
        """See `Processes.together`."""
        self._times += 1
        with process_group(self._store, self._times, self.rank, self.world_size) as collective:
            yield collective


ONE = Processes()


def processes_of_environment() -> Processes:
    """This process among those that were started with it, by torch's environment variables; `ONE` where there are none."""
    if not is_rank():
        return ONE
    from torch.distributed.rendezvous import rendezvous

    store, rank, world_size = next(iter(rendezvous("env://", timeout=timedelta(days=DAYS))))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world_size))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))  # what `cuda` without a number then means
    if rank:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  (open as long as the process)
    return SeveralProcesses(store, rank, world_size)


def run_in_processes(arguments: Sequence[str], world_size: int) -> None:
    """Runs a command line in processes of its own, as torchrun would, and ends all of them when one fails.

    Args:
        arguments: The command line.
        world_size: Number of processes, at least 2.

    Raises:
        RanksFailedError: With the lines that say what went wrong in them.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, once all of them are gone.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=world_size, rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0",
        run_id=str(os.getpid()), max_restarts=0, monitor_interval=0.1, local_addr="127.0.0.1",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as said:
        os.environ[OUTCOMES] = said
        try:
            own = ("-P", "-m", "selfdebias")  # -P: no module of the current folder is imported
            elastic_launch(config, sys.executable)(*own, *arguments)
        except SignalException as stop:
            raise (Terminated if stop.sigval == signal.SIGTERM else KeyboardInterrupt)() from None
        except ChildFailedError as error:
            raise RanksFailedError(*_why(error, Path(said))) from None
        finally:
            del os.environ[OUTCOMES]


def _why(error: Any, said: Path) -> tuple[int, str]:
    """What the processes themselves say went wrong; the others then end only because one of them did."""
    found = [json.loads(path.read_text()) for path in sorted(said.iterdir())]
    wrong = {line: code for code, line in found if code}
    stopped = wrong.pop(STOPPED, None)  # of one that was ended because another had failed
    if wrong:
        return max(wrong.values()), "\n".join(wrong)
    rank, failure = error.get_first_failure()
    if failure.exitcode < 0:
        how = f"was killed by {failure.signal_name()}"
        return 1, f"selfdebias: process {rank} {how}; run the same command again to resume."
    return (stopped, STOPPED) if stopped else (1, f"selfdebias: process {rank} failed, as said above.")


TIMEOUT = timedelta(days=1)  # for the others at one step; a process that dies ends the wait at once


@contextmanager
def process_group(store: Any, name: object, rank: int, world_size: int) -> Iterator[Collective]:
    """Open torch's default process group for the body.

    Args:
        store: a `torch.distributed.TCPStore` that all processes are connected to.
        name: of the group; each one that is opened over a store has its own.
        rank: index of this process.
        world_size: number of processes.
    """
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this computer, and nobody else is to connect
    own = dist.PrefixStore(f"group-{name}", store)
    dist.init_process_group("gloo", store=own, rank=rank, world_size=world_size, timeout=TIMEOUT)
    try:
        yield ProcessCollective(rank, world_size)
    finally:
        dist.destroy_process_group()


class ProcessCollective(Collective):
    """The processes of torch's default group, or the first ones of them.

    What is gathered is small (assignments, norms), and goes through gloo on the CPU whatever the device.

    Args:
        rank: index of this process.
        world_size: number of processes.
        group: a group of torch's; None for the default one.
    """

    def __init__(self, rank: int, world_size: int, group: Any = None):
        self.part, self.among, self._group = rank, world_size, group
        self._first: dict[int, Collective] = {world_size: self}

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
