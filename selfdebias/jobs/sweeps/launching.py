"""A sweep by Hydra's own sweepers and launchers: what is checked before it, watched beside it, and made of it at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.global_hydra import GlobalHydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from selfdebias.config.compose import load_sweep
from selfdebias.config.keys import as_keyed, digest
from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.schema import TABLE
from selfdebias.config.sources import Sources, running_overrides, running_sources
from selfdebias.config.targets import check_names
from selfdebias.jobs.announcements import say_replaced, seen_at_once
from selfdebias.jobs.early_checks import check_early, check_writable, wants_several
from selfdebias.jobs.failures import Ended, LaunchError
from selfdebias.jobs.sweeps.finished import WHERE, fairness_of
from selfdebias.jobs.sweeps.launchers import BASIC, LOCAL, check_launcher, is_lost_job, share_cores
from selfdebias.jobs.sweeps.objectives import check_measured, check_search
from selfdebias.jobs.sweeps.record import (
    NOT_OF_JOBS,
    JobState,
    SweepFolder,
    progress_told,
    stop_jobs,
    swept,
    wait_for_others,
)
from selfdebias.storage.hidden import redacted_words

SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
MULTIRUN = "multirun.yaml"  # which Hydra writes, with all that was typed


@dataclass(frozen=True)
class Started:
    """A sweep whose jobs are checked.

    Attributes:
        sweep: its folder.
        launcher: the name of its launcher.
        table: the section `table` of its configuration.
        before: how far its jobs had come before this command.
        beside: what runs beside the sweep, until its end.
    """

    sweep: SweepFolder
    launcher: str
    table: dict[str, Any]
    before: list[JobState]
    beside: ExitStack = field(default_factory=ExitStack)


class StartOfSweep(Callback):
    """What Hydra calls before a sweep, by `hydra.callbacks`: all jobs are checked before anything is written.

    Attributes:
        started: the sweep, once its jobs are checked. Hydra makes the callback itself, so `run_sweep` finds it in the class.
    """

    started: ClassVar[Started | None] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks the jobs, and gives the sweep its folder.

        Raises:
            Ended: With a ConfigError about the first job that is wrong.
        """
        try:
            StartOfSweep.started = _checked_start(config)
        except Exception as error:
            raise Ended(error) from error


def run_sweep(start: Callable[[], object], overrides: Sequence[str], sources: Sources) -> int:
    """Runs a sweep and makes its table.

    Args:
        start: Hands the command line to Hydra, which calls `StartOfSweep`.
        overrides: Those of the command line.
        sources: Where the configuration is composed from.

    Returns:
        The exit code: 0 if all jobs are done, else 1.

    Raises:
        ConfigError: If one of the jobs cannot run; none is then started.
        LaunchError: If the launcher failed before any job began.
        OSError: If the jobs run in this process and the disk is full.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, once the jobs of this computer have ended.
    """
    check_launcher(overrides, sources)
    StartOfSweep.started, trouble = None, ""
    try:
        start()
    except (Exception, KeyboardInterrupt) as error:
        started = StartOfSweep.started
        if started is None or started.launcher == BASIC:
            raise
        trouble = _lost(error, started)
    finally:
        if started := StartOfSweep.started:
            started.beside.close()
            (started.sweep.path / MULTIRUN).unlink(missing_ok=True)  # sweep.json says the same, without secrets
    from selfdebias.jobs.sweeps.table import write_table

    assert started is not None
    code = write_table(started.sweep.path, started.table)
    if trouble:
        print(f"selfdebias: {trouble}", file=sys.stderr)
    return code


def _lost(error: BaseException, started: Started) -> str:
    """Waits for the jobs that still run where a launcher failed, and says why it did.

    Raises:
        LaunchError: If it has started none.
        KeyboardInterrupt: If it was stopped, once the jobs of this computer have ended.
    """
    if isinstance(error, KeyboardInterrupt):
        if started.launcher == LOCAL:
            stop_jobs(started.sweep)
        raise error
    line = " ".join(str(error).split())
    begun = {it.started for it in started.sweep.states()} - {"", *(it.started for it in started.before)}
    if not begun and not is_lost_job(error):
        raise LaunchError(f"{started.launcher} started no job: {line or type(error).__name__}") from error
    print("a job was lost; waiting for the others", flush=True)  # which may be at work
    wait_for_others(started.sweep)
    return f"a job was lost: {line}"


def _checked_start(config: DictConfig) -> Started:
    """Checks each job of a sweep, writes which jobs there are, and tells Hydra their folder."""
    running = config.hydra
    words, searches = [str(text) for text in running.overrides.task], running.sweeper["_target_"] != SWEEPER
    objectives = check_search(running.sweeper) if searches else []
    asked, sources = running_overrides(running), running_sources(running)
    found = load_sweep(asked, sources, GlobalHydra.instance().config_loader(), searches)
    jobs, configs = [job.overrides for job in found], [job.config for job in found]
    launcher = str(running.runtime.choices["hydra/launcher"])
    if not jobs:
        raise ConfigError(
            "`-m` has no job: a range(a, b) that is empty, or a glob(...) that names no option of its group."
        )
    if searches and not swept(jobs):
        raise ConfigError("`hydra/sweeper` search needs a key to search over: guidance.strength='interval(1, 12)'.")
    say_replaced(jobs[0], sources)
    said = _start_in_words(running.sweeper["n_trials"] if searches else len(jobs), swept(jobs))
    if seen_at_once():
        print(said, flush=True)
    sweep = sweep_of(_checked(configs, launcher, objectives), [words] if searches else jobs, configs, objectives)
    with read_write(config), open_dict(config):
        running.sweep.dir = str(sweep.path).replace("${", "\\${")
        place = str(sweep.path).replace("\\", "\\\\").replace("'", "\\'")
        running.overrides.hydra.append(f"hydra.sweep.dir='{place}'")
    sweep.start(redacted_words(sys.argv), jobs, objectives)
    if not seen_at_once():
        print(said, flush=True)
    started = Started(sweep, launcher, configs[0]["table"], sweep.states())
    _tell_of_launcher(started, running)
    if launcher == LOCAL:
        share_cores(running.sweeper.get("n_jobs", len(jobs)))  # of a search
    return started


def _start_in_words(count: int, keys: Sequence[str]) -> str:
    """How many jobs a sweep has, and over which keys."""
    over = f" over {', '.join(keys)}" if keys else ""
    return f"starts: a sweep of {count} job{'' if count == 1 else 's'}{over}"


def _tell_of_launcher(started: Started, running: DictConfig) -> None:
    """Says where the jobs go, and then how far each is, unless they run one after the other in this process."""
    if started.launcher == BASIC:
        return
    submitted = "submitit" in running.launcher["_target_"]
    where = f"; what they say is in {started.sweep.path / '.submitit'}" if submitted else ""
    print(f"the jobs go to {started.launcher}{where}", flush=True)
    started.beside.enter_context(progress_told(started.sweep))


def sweep_of(
    root: Path,
    jobs: Sequence[Sequence[str]],
    configs: Sequence[Mapping[str, Any]] = (),
    objectives: Sequence[str] = (),
) -> SweepFolder:
    """The folder of a sweep: the same jobs have the same one, whatever their table shows.

    Args:
        root: of runs.
        jobs: overrides of each job; of a search those of the command line.
        configs: what they came to with the files that were read; of a search that of its ends.
        objectives: of a search; one with others is another search.

    Example:
        >>> strengths = [["guidance.strength=3"], ["guidance.strength=6"]]
        >>> with_table = [[*job, "table.quality=kid"] for job in strengths]
        >>> sweep_of(Path("runs"), strengths).path == sweep_of(Path("runs"), with_table).path
        True
    """
    own = [[text for text in job if not text.lstrip("+").startswith(NOT_OF_JOBS)] for job in jobs]
    said = [{group: as_keyed(group, it) for group, it in config.items() if group not in WHERE} for config in configs]
    return SweepFolder(Path(root).absolute() / "sweeps" / digest([own, said, list(objectives)]))


def _checked(configs: Sequence[dict[str, Any]], launcher: str, objectives: Sequence[str]) -> Path:
    """The root of runs of all jobs, which must be one.

    Raises:
        ConfigError: If a job cannot be one of a sweep.
    """
    roots = list(dict.fromkeys(config["paths"]["root"] for config in configs))
    if len(roots) > 1:
        raise refuse("paths.root", "one folder in a sweep", roots)
    for config in configs:
        check_names(config)
        if wants_several(config) and launcher == BASIC:
            words = "1 in a sweep, which runs its jobs in this one process: start them one by one, without -m"
            raise refuse("trainer.devices", words, config["trainer"]["devices"])
        if config["stages"] == [TABLE]:
            raise refuse("stages", "other than [table] with -m, which makes a table at its end", [TABLE])
        fairness_of(config["table"], config["prompts"]["attributes"])
        check_measured(objectives, config)
    check_writable(Path(roots[0]))
    for config in configs if launcher == BASIC else ():  # elsewhere there may be other devices
        check_early(config)
    return Path(roots[0])
