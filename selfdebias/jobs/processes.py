"""A job on several devices: one process for each, started and watched here. Torch is imported once they start."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.config.rules import refuse
from selfdebias.jobs.failures import STOPPED

if TYPE_CHECKING:
    from selfdebias.guidance.state import Collective

DRAW, DONE = "draw", "done"  # what the first process tells the others of a step
DAYS = 30  # that a process waits for the first one, which evaluates alone
GRACE = 10.0  # seconds in which the others may end by themselves once one has


class Processes:
    """One process, which runs the whole job. `SeveralProcesses` has the same methods.

    Attributes:
        part: index of this process, from 0; the first one writes and speaks, and runs the stages that cannot be shared.
        among: number of processes.
    """

    part, among = 0, 1

    def tell(self, step: str, word: str) -> None:
        """Say to the other processes what to do at a step: `DRAW`, take part, or `DONE`, go on."""

    def hear(self, step: str) -> str:
        """Return what the first process says of a step, once it says something."""
        return DONE

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
        part: index of this process, from 0.
        among: number of processes, at least 2.
        port: free port of this computer, the same in each of them.
    """

    def __init__(self, part: int, among: int, port: int) -> None:
        from datetime import timedelta

        from torch.distributed import TCPStore

        self.part, self.among = part, among
        self._store = TCPStore("127.0.0.1", port, among, is_master=part == 0, timeout=timedelta(days=DAYS))
        self._times = 0

    def tell(self, step: str, word: str) -> None:
        """See `Processes.tell`."""
        self._store.set(step, word)

    def hear(self, step: str) -> str:
        """See `Processes.hear`."""
        return self._store.get(step).decode()

    @contextmanager
    def together(self) -> Iterator[Collective]:
        """See `Processes.together`."""
        from selfdebias.jobs.distributed import process_group

        self._times += 1
        with process_group(self._store, self._times, self.part, self.among) as collective:
            yield collective


ONE = Processes()
Outcome = Callable[[Sequence[str], Processes], tuple[int, str]]


def wants_several(config: Mapping[str, Any]) -> bool:
    """Whether a job is to run in several processes."""
    return config["trainer"].get("strategy") == "ddp" and config["trainer"]["devices"] > 1


def check_processes(config: Mapping[str, Any]) -> None:
    """Refuses devices that could not be used.

    Raises:
        ConfigError: With the first value that is wrong.
    """
    trainer = config["trainer"]
    devices, strategy = trainer.get("devices"), trainer.get("strategy", "auto")
    if devices == 1:
        return
    if strategy != "ddp":
        raise refuse("trainer.devices", "1 without trainer=ddp", devices)
    if config["evaluate"]["folders"]:
        raise refuse("trainer.devices", "1 for `evaluate.folders`: nothing is drawn that could be shared", devices)
    for stage in ("collect", "generate"):
        for name in ("n_images", "batch_size"):
            if stage in config["stages"] and devices > config[stage][name]:
                words = f"at most {config[stage][name]}, the images of `{stage}.{name}` that they share"
                raise refuse("trainer.devices", words, devices)
    device = str(config["model"].get("device"))
    if ":" in device:
        raise refuse("model.device", "a kind of device, such as cuda, on several devices", device)


def run_in_processes(run: Outcome, arguments: Sequence[str], among: int) -> tuple[int, str]:
    """Runs a command line in processes of its own, and ends all of them when one fails.

    Args:
        run: What each process calls with the command line and its place among them, such as `selfdebias.jobs.commands.outcome`.
        arguments: The command line.
        among: Number of processes, at least 2.

    Returns:
        The exit code, and the lines that say what went wrong; (0, "") if nothing did.

    Raises:
        KeyboardInterrupt: On Ctrl-C or SIGTERM, once all of them are gone.
        ProcessException: If an error in one of them is not the user's, with its traceback.
    """
    from lightning_fabric.plugins.environments.lightning import find_free_network_port
    from torch.multiprocessing import start_processes
    from torch.multiprocessing.spawn import ProcessException

    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    # Python's tracker of semaphores frees those of a process that was killed, and need not say so after our last line.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
    with tempfile.TemporaryDirectory() as said:
        context: Any = start_processes(
            _work,
            (among, find_free_network_port(), run, list(arguments), said),
            nprocs=among,
            join=False,
            start_method="spawn",
        )
        try:
            while not context.join(grace_period=GRACE):
                pass
        except KeyboardInterrupt:
            _stop(context)
            raise
        except ProcessException as error:
            return _why(error, Path(said))
    return 0, ""


def _stop(context: Any) -> None:
    """Passes Ctrl-C on, and returns once all processes are gone."""
    for process in context.processes:
        if process.is_alive():
            os.kill(process.pid, signal.SIGINT)
    for process in context.processes:
        process.join(GRACE)
        if process.is_alive():
            process.kill()
            process.join()


def _why(error: Exception, said: Path) -> tuple[int, str]:
    """Return what the processes themselves say went wrong; the others then end only because one of them did."""
    found = [json.loads(path.read_text()) for path in sorted(said.iterdir())]
    wrong = {line: code for code, line in found if code}
    if len(wrong) > 1:
        wrong.pop(STOPPED, None)  # of one that was ended because another had failed
    if wrong:
        return max(wrong.values()), "\n".join(wrong)
    name = getattr(error, "signal_name", None)
    if name is None:
        raise error
    index = error.error_index  # type: ignore[attr-defined]
    return 1, f"selfdebias: process {index} was killed by {name}; the same command goes on from here."


def _work(part: int, among: int, port: int, run: Outcome, arguments: Sequence[str], said: str) -> None:
    """What one process runs: the command line, as one part of the job."""
    os.setpgid(0, 0)  # Ctrl-C reaches the process that started this one, which passes it on
    os.environ.update(
        RANK=str(part), LOCAL_RANK=str(part), WORLD_SIZE=str(among), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // among))
    if torch.cuda.is_available():
        torch.cuda.set_device(part)  # what `cuda` without a number then means
    if part:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  (open as long as the process)
    code, line = run(arguments, SeveralProcesses(part, among, port))
    Path(said, str(part)).write_text(json.dumps([code, line]))
    sys.exit(code)
