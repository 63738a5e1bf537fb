"""Starts the jobs of a sweep by a launcher of Hydra's: one after the other, in processes of this computer, or on a cluster."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selfdebias import config as configuration
from selfdebias.config import HYDRA, SweepJob, digest, load_sweep
from selfdebias.processes import refuse_in_sweep
from selfdebias.report.redact import redacted
from selfdebias.rules import ConfigError, refuse
from selfdebias.sweeps.record import NOT_OF_JOBS, NOT_STARTED, RUNNING, STOP, SweepFolder
from selfdebias.sweeps.running import DiskFullError, run_numbered

SETTINGS = ("hydra/launcher", "hydra.launcher.", "hydra.job.", "hydra.verbose")  # those of Hydra's that a user may set
BASIC = "basic"  # Hydra's launcher that runs the jobs one after the other in this process
LOCAL = "submitit_local"
PLUGIN = "hydra_plugins.hydra_submitit_launcher"
GRACE = 20.0  # seconds in which processes that were told to stop may do so
STARTS = 60.0  # seconds in which a job that was handed to a launcher starts, unless it waits in a queue
LOOKS = 0.5  # seconds from one look at the states to the next


def run_sweep(overrides: Sequence[str]) -> int:
    """Checks each job of a sweep, runs all of them, and makes their table.

    Args:
        overrides: The command line without -m.

    Returns:
        The exit code: 0 if all jobs are done, else 1.

    Raises:
        ConfigError: If one of the jobs cannot run; none is then started.
        OSError: If the jobs run in this process and the disk is full.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, once the jobs of this computer have ended.
    """
    settings = _settings(overrides)
    launcher = _launcher_of(settings)
    jobs = load_sweep(overrides)
    root = _checked(jobs, launcher)
    sweep = sweep_of(root, [job.overrides for job in jobs])
    sweep.start(redacted(shlex.join(["selfdebias", "-m", *overrides])), redacted([job.overrides for job in jobs]))
    trouble = _launch(sweep, settings, launcher, [job.overrides for job in jobs])
    from selfdebias.sweeps.table import write_table

    code = write_table(sweep.path, jobs[0].config["table"])
    if trouble:
        print(f"selfdebias: {trouble}", file=sys.stderr)
    return code


def sweep_of(root: Path, jobs: Sequence[Sequence[str]]) -> SweepFolder:
    """The folder of a sweep: the same jobs have the same one, whatever their table shows.

    Example:
        >>> strengths = [["guidance.strength=3"], ["guidance.strength=6"]]
        >>> with_table = [[*job, "table.quality=kid"] for job in strengths]
        >>> sweep_of(Path("runs"), strengths).path == sweep_of(Path("runs"), with_table).path
        True
    """
    own = [[text for text in job if not text.lstrip("+").startswith(NOT_OF_JOBS)] for job in jobs]
    return SweepFolder(Path(root).absolute() / "sweeps" / digest(own))


def _settings(overrides: Sequence[str]) -> list[str]:
    """Hydra's own settings among the overrides."""
    found = [text for text in overrides if text.lstrip("+~").startswith(HYDRA)]
    for text in found:
        key, _, value = text.lstrip("+~").partition("=")
        if not key.startswith(SETTINGS):
            raise ConfigError(f"`{key}` cannot be set here; of Hydra's own settings hydra/launcher and hydra.job can.")
        if key == "hydra/launcher" and "," in value:
            raise refuse(key, "one launcher", value)
    return found


def _launcher_of(settings: Sequence[str]) -> str:
    """The launcher that was asked for, if it is there.

    Raises:
        ConfigError: If it is unknown, or needs an extra that is not installed.
    """
    asked = [text.partition("=")[2] for text in settings if text.lstrip("+").startswith("hydra/launcher=")]
    launcher = asked[-1] if asked else BASIC
    own = sorted(file.stem for file in (configuration.conf_folder() / "hydra" / "launcher").glob("*.yaml"))
    if (launcher.startswith("submitit_") or launcher in own) and not _plugin_is_there():
        raise ConfigError(f"`hydra/launcher` {launcher} needs an extra: pip install 'selfdebias[slurm]'")
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()  # which registers the launchers that are installed
    known = {name.removesuffix(".yaml") for name in ConfigStore.instance().list("hydra/launcher")} | set(own)
    if launcher not in known:
        raise ConfigError(f"`hydra/launcher` must be one of {', '.join(sorted(known))}, got {launcher}.")
    return launcher


def _plugin_is_there() -> bool:
    try:
        return find_spec(PLUGIN) is not None and find_spec("submitit") is not None
    except ModuleNotFoundError:  # there is no `hydra_plugins` at all
        return False


def _checked(jobs: Sequence[SweepJob], launcher: str) -> Path:
    """The root of runs of all jobs, which must be one.

    Raises:
        ConfigError: If a job cannot be one of a sweep.
    """
    if launcher == BASIC:
        refuse_in_sweep([job.config for job in jobs])
    roots = list(dict.fromkeys(job.config["paths"]["root"] for job in jobs))
    if len(roots) > 1:
        raise refuse("paths.root", "one folder in a sweep", roots)
    if any(job.config["stages"] == ["table"] for job in jobs):
        raise refuse("stages", "other than [table] with -m, which makes a table at its end", ["table"])
    configuration.check_writable(Path(roots[0]))
    return Path(roots[0])


def _launch(sweep: SweepFolder, settings: Sequence[str], launcher: str, jobs: list[list[str]]) -> str:
    """Runs all jobs; returns a line about those that ended without saying why, "" where there are none."""
    task = partial(run_numbered, folder=str(sweep.path), place=str(Path.cwd()), submitted=launcher != BASIC)
    if launcher != BASIC:
        print(f"{len(jobs)} jobs go to {launcher}; what they say is in {sweep.path / '.submitit'}", flush=True)
    try:
        with _threads(len(jobs) if launcher == LOCAL else 1):
            for job in _start(sweep.path, settings, jobs, task):
                _ = job.return_value  # raises what a fault of the recording itself raised
    except DiskFullError as error:
        raise error.__cause__ or error from None
    except KeyboardInterrupt:
        if launcher == LOCAL:
            _stop(sweep, len(jobs))
        raise
    except Exception as error:
        if launcher == BASIC:
            raise
        _wait(sweep, len(jobs))  # the launcher speaks of the first one that was lost, while others may be at work
        return f"a job was lost: {' '.join(str(error).split())}"
    return ""


def _start(path: Path, settings: Sequence[str], jobs: list[list[str]], task: Any) -> Sequence[Any]:
    """Hands the jobs to Hydra's launcher, which returns once all of them have ended."""
    from hydra import initialize_config_dir
    from hydra._internal.callbacks import Callbacks
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode

    place = str(path).replace("\\", "\\\\").replace("'", "\\'")
    own = [*settings, f"hydra.sweep.dir='{place}'"]
    with initialize_config_dir(str(configuration.conf_folder()), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("config", own, run_mode=RunMode.MULTIRUN, from_shell=False)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
        launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
        return launcher.launch(jobs, initial_job_idx=0)


@contextmanager
def _threads(jobs: int) -> Iterator[None]:
    """Gives each of several processes its share of the cores, unless the environment says how many threads to use."""
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def _stop(sweep: SweepFolder, jobs: int) -> None:
    """Ends the jobs that run in processes of this computer, and returns once they are gone."""
    (sweep.path / STOP).touch()  # for those that have not begun
    end = time.monotonic() + GRACE
    told: set[int] = set()
    while time.monotonic() < end:
        running = [state for state in map(sweep.state, range(jobs)) if state.state == RUNNING]
        for state in running:
            if state.process not in told and state.host == platform.node():
                with suppress(ProcessLookupError):
                    os.kill(state.process, signal.SIGTERM)
                told.add(state.process)
        if not running:
            return
        time.sleep(LOOKS)


def _wait(sweep: SweepFolder, jobs: int) -> None:
    """Returns once no job runs any more; one that has not begun is waited for only a while, since it may be in a queue."""
    begun = time.monotonic()
    while True:
        states = {sweep.state(num).state for num in range(jobs)}
        if RUNNING not in states and (NOT_STARTED not in states or time.monotonic() > begun + STARTS):
            return
        time.sleep(LOOKS)
