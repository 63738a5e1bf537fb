"""A job on several devices: one process for each, started and watched by torchrun's agent, here or by a user's own `torchrun` or
`srun`. Torch is imported once they start.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.jobs.failures import STOPPED, RanksFailedError, Terminated

if TYPE_CHECKING:
    from selfdebias.guidance.state import Collective

DRAW, DONE = "draw", "done"  # what the first process tells the others of a stage: to take part, or to go on
DAYS = 30  # that a process waits for the first one, which evaluates alone
OUTCOMES = "SELFDEBIAS_OUTCOMES"  # the folder in which the processes of a job that was started here say how they ended


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
        from selfdebias.guidance.state import ALONE

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
        from selfdebias.jobs.distributed import process_group

        self._times += 1
        with process_group(self._store, self._times, self.rank, self.world_size) as collective:
            yield collective


ONE = Processes()


def is_rank() -> bool:
    """Whether this process is one of several that torchrun, srun or `run_in_processes` started."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys() and int(
        os.environ["WORLD_SIZE"]
    ) > 1


def processes_of_environment() -> Processes:
    """This process among those that were started with it, by torch's environment variables; `ONE` where there are none."""
    if not is_rank():
        return ONE
    from datetime import timedelta

    import torch
    from torch.distributed.rendezvous import rendezvous

    store, rank, world_size = next(iter(rendezvous("env://", timeout=timedelta(days=DAYS))))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world_size))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))  # what `cuda` without a number then means
    if rank:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  (open as long as the process)
    return SeveralProcesses(store, rank, world_size)


def wants_several(config: Mapping[str, Any]) -> bool:
    """Whether a job is to run in several processes."""
    return config["trainer"].get("strategy") == "ddp" and config["trainer"]["devices"] > 1


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
            elastic_launch(config, sys.executable)("-m", "selfdebias", *arguments)
        except SignalException as stop:
            raise (Terminated if stop.sigval == signal.SIGTERM else KeyboardInterrupt)() from None
        except ChildFailedError as error:
            raise RanksFailedError(*_why(error, Path(said))) from None
        finally:
            del os.environ[OUTCOMES]


def tell_outcome(code: int, line: str) -> bool:
    """Tells the process that started this one how it ended; False where that one does not ask for it."""
    if OUTCOMES not in os.environ or not is_rank():
        return False
    Path(os.environ[OUTCOMES], os.environ["RANK"]).write_text(json.dumps([code, line]))
    return True


def _why(error: Any, said: Path) -> tuple[int, str]:
    """What the processes themselves say went wrong; the others then end only because one of them did."""
    found = [json.loads(path.read_text()) for path in sorted(said.iterdir())]
    wrong = {line: code for code, line in found if code}
    if len(wrong) > 1:
        wrong.pop(STOPPED, None)  # of one that was ended because another had failed
    if wrong:
        return max(wrong.values()), "\n".join(wrong)
    rank, failure = error.get_first_failure()
    if failure.exitcode < 0:
        how = f"was killed by {failure.signal_name()}"
        return 1, f"selfdebias: process {rank} {how}; run the same command again to resume."
    return 1, f"selfdebias: process {rank} failed, as said above."
