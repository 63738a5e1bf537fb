"""A sweep by Hydra's own sweepers and launchers: what is checked before it, watched beside it, and made of it at its end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.global_hydra import GlobalHydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from selfdebias.config.compose import load_sweep
from selfdebias.config.keys import digest
from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.schema import TABLE
from selfdebias.config.sources import Sources, running_sources
from selfdebias.config.targets import check_names
from selfdebias.jobs.early_checks import check_early, check_writable, wants_several
from selfdebias.jobs.failures import Ended, LaunchError
from selfdebias.jobs.sweeps.finished import fairness_of
from selfdebias.jobs.sweeps.launchers import BASIC, LOCAL, check_launcher, cores_shared, is_lost_job
from selfdebias.jobs.sweeps.objectives import check_search
from selfdebias.jobs.sweeps.record import (
    NOT_OF_JOBS,
    SweepFolder,
    progress_told,
    starts,
    stop_jobs,
    swept,
    wait_for_others,
)
from selfdebias.storage.hidden import redacted_command

SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
MULTIRUN = "multirun.yaml"  # which Hydra writes, with all that was typed


@dataclass(frozen=True)
class Started:
    """A sweep whose jobs are checked.

    Attributes:
        sweep: its folder.
        launcher: the name of its launcher.
        table: the section `table` of its configuration.
        n_jobs: how many jobs there are at most.
        before: when each job started last, before this command.
    """

    sweep: SweepFolder
    launcher: str
    table: dict[str, Any]
    n_jobs: int
    before: list[str]


class StartOfSweep(Callback):
    """What Hydra calls before a sweep, by `hydra.callbacks`: all jobs are checked before anything is written.

    Attributes:
        command: the command line, without secrets.
        started: the sweep, once its jobs are checked.
        beside: what runs beside the sweep, until its end.
    """

    command: ClassVar[str] = ""
    started: ClassVar[Started | None] = None
    beside: ClassVar[ExitStack] = ExitStack()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks the jobs, and gives the sweep its folder.

        Raises:
            Ended: With a ConfigError about the first job that is wrong.
        """
        try:
            StartOfSweep.started = _checked_start(config, StartOfSweep.command)
        except Exception as error:
            raise Ended(error) from error
        started, sweep = StartOfSweep.started, StartOfSweep.started.sweep
        if started.launcher != BASIC:
            print(
                f"{started.n_jobs} jobs go to {started.launcher}; what they say is in {sweep.path / '.submitit'}",
                flush=True,
            )
            self.beside.enter_context(progress_told(sweep, started.n_jobs))
            self.beside.enter_context(cores_shared(started.n_jobs if started.launcher == LOCAL else 1))


def run_sweep(start: Callable[[], object], words: Sequence[str], settings: Sequence[str], sources: Sources) -> int:
    """Runs a sweep and makes its table.

    Args:
        start: Hands the command line to Hydra, which calls `StartOfSweep`.
        words: The command line.
        settings: Its overrides of Hydra's own settings.
        sources: Where the configuration is composed from.

    Returns:
        The exit code: 0 if all jobs are done, else 1.

    Raises:
        ConfigError: If one of the jobs cannot run; none is then started.
        LaunchError: If the launcher failed before any job began.
        OSError: If the jobs run in this process and the disk is full.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, once the jobs of this computer have ended.
    """
    check_launcher(settings, sources)
    StartOfSweep.command, StartOfSweep.started = redacted_command(shlex.join(["selfdebias", *words])), None
    trouble = ""
    with StartOfSweep.beside:
        try:
            start()
        except KeyboardInterrupt:
            if StartOfSweep.started and StartOfSweep.started.launcher == LOCAL:
                stop_jobs(StartOfSweep.started.sweep, StartOfSweep.started.n_jobs)
            raise
        except Exception as error:
            if StartOfSweep.started is None or StartOfSweep.started.launcher == BASIC:
                raise
            trouble = _lost(error, StartOfSweep.started)
        finally:
            if StartOfSweep.started:  # sweep.json says the same, without secrets
                (StartOfSweep.started.sweep.path / MULTIRUN).unlink(missing_ok=True)
    if StartOfSweep.started is None:
        raise ConfigError("`hydra.callbacks` must keep the entry `sweep` of config.yaml, which checks the jobs.")
    from selfdebias.jobs.sweeps.table import write_table

    code = write_table(StartOfSweep.started.sweep.path, StartOfSweep.started.table)
    if trouble:
        print(f"selfdebias: {trouble}", file=sys.stderr)
    return code


def _lost(error: Exception, started: Started) -> str:
    """Waits for the jobs that still run where a launcher failed, and says why it did.

    Raises:
        LaunchError: If it has started none.
    """
    line = " ".join(str(error).split())
    if not is_lost_job(error) and starts(started.sweep, started.n_jobs) == started.before:
        raise LaunchError(f"{started.launcher} started no job: {line or type(error).__name__}") from error
    print("a job was lost; waiting for the others", flush=True)  # which may be at work
    wait_for_others(started.sweep, started.n_jobs)
    return f"a job was lost: {line}"


def _checked_start(config: DictConfig, command: str) -> Started:
    """Checks each job of a sweep, writes which jobs there are, and tells Hydra their folder."""
    running = config.hydra
    settings = [text for text in map(str, running.overrides.hydra) if not text.startswith("hydra.searchpath")]
    words, searches = [str(text) for text in running.overrides.task], running.sweeper["_target_"] != SWEEPER
    objectives = check_search(running.sweeper) if searches else []
    found = load_sweep([*words, *settings], running_sources(running), GlobalHydra.instance().config_loader(), searches)
    jobs, configs = [job.overrides for job in found], [job.config for job in found]
    launcher = str(running.runtime.choices["hydra/launcher"])
    sweep = sweep_of(_checked(configs, launcher), [words] if searches else jobs)
    with read_write(config), open_dict(config):
        running.sweep.dir = str(sweep.path).replace("${", "\\${")
        place = str(sweep.path).replace("\\", "\\\\").replace("'", "\\'")
        running.overrides.hydra.append(f"hydra.sweep.dir='{place}'")
    if searches and not swept(jobs):
        raise ConfigError("`hydra/sweeper` search needs a key to search over: guidance.strength='interval(1, 12)'.")
    if searches:
        n_jobs = int(running.sweeper.get("n_trials", 0))
        sweep.start_search(command, swept(jobs), objectives)
    else:
        n_jobs = len(jobs)
        sweep.start(command, [[redacted_command(text) for text in job] for job in jobs])
    return Started(sweep, launcher, configs[0]["table"], n_jobs, starts(sweep, n_jobs))


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


def _checked(configs: Sequence[dict[str, Any]], launcher: str) -> Path:
    """The root of runs of all jobs, which must be one.

    Raises:
        ConfigError: If a job cannot be one of a sweep.
    """
    for config in configs:
        check_names(config)
    several = [config["trainer"]["devices"] for config in configs if wants_several(config)]
    if several and launcher == BASIC:
        words = "1 in a sweep, which runs its jobs in this one process: start them one by one, without -m"
        raise refuse("trainer.devices", words, several[0])
    roots = list(dict.fromkeys(config["paths"]["root"] for config in configs))
    if len(roots) > 1:
        raise refuse("paths.root", "one folder in a sweep", roots)
    for config in configs:
        if config["stages"] == [TABLE]:
            raise refuse("stages", "other than [table] with -m, which makes a table at its end", [TABLE])
        fairness_of(config["table"], config["prompts"]["attributes"])
    check_writable(Path(roots[0]))
    for config in configs if launcher == BASIC else ():  # elsewhere there may be other devices
        check_early(config)
    return Path(roots[0])
