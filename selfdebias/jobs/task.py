"""One job, as Hydra calls it: alone, or as one of a sweep, where its outcome is recorded and a failed one ends no other."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.config.compose import load, notes_on_subjects
from selfdebias.config.sources import running_sources
from selfdebias.config.targets import check_names
from selfdebias.jobs.early_checks import check_early, wants_several
from selfdebias.jobs.failures import Ended, disk_is_full, explained, is_rank, sigterm_as_ctrl_c
from selfdebias.jobs.sweeps.objectives import NAN, values_of_job
from selfdebias.jobs.sweeps.record import DONE, ERROR, FAILED, RUNNING, STOP, STOPPED, JobState, SweepFolder
from selfdebias.storage.atomic import write_text
from selfdebias.storage.hidden import redacted_command

if TYPE_CHECKING:
    from selfdebias.jobs.processes import Processes

PREFIX = "selfdebias: "
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"  # which runs the jobs in the process of the sweep


def task(config: Any) -> Any:
    """One job: what Hydra calls with the composed configuration.

    Returns:
        In a sweep its objectives, NaN where it failed; else None.

    Raises:
        Ended: With what ended it.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    running = HydraConfig.get()
    if running.mode == RunMode.MULTIRUN:
        return run_numbered()
    try:
        sources, overrides = running_sources(running), [str(text) for text in running.overrides.task]
        config = load([*overrides, *settings_in(running)], sources)
        if not is_rank() and any(text.startswith("prompts.subjects=") for text in overrides):
            for note in notes_on_subjects(overrides, config["prompts"]["subjects"], sources):
                print(note)
        if config["stages"] == ["table"]:
            from selfdebias.jobs.sweeps.table import remake_table

            remake_table(config["table"])
        else:
            run_in_ranks(config, overrides, sys.argv[1:])
    except Exception as error:
        raise Ended(error) from error
    return None


def run_in_ranks(config: Mapping[str, Any], words: Sequence[str], arguments: Sequence[str]) -> None:
    """Runs a job in as many processes as it wants; `words` ask for the same as `arguments`, without a folder."""
    check_early(config)  # before torch comes, which is slow
    from selfdebias.jobs.job import run_job
    from selfdebias.jobs.processes import processes_of_environment, run_in_processes

    if wants_several(config) and not is_rank():
        run_in_processes(arguments, config["trainer"]["devices"])
        return
    processes = processes_of_environment()
    job = run_job(with_ranks(config, processes), words, processes)
    if processes.rank == 0:
        _print_outcome(job)


def with_ranks(config: Mapping[str, Any], processes: Processes) -> dict[str, Any]:
    """The configuration with as many devices as processes were started from outside, if any were."""
    if processes.world_size == 1:
        return dict(config)
    shared = {"devices": processes.world_size, "strategy": "ddp", "use_distributed_sampler": False}  # as of trainer=ddp
    return {**config, "trainer": {**config["trainer"], **shared}}


def settings_in(running: Any) -> list[str]:
    """Hydra's own overrides of a running job, without the search path, which `running_sources` knows."""
    return [text for text in map(str, running.overrides.hydra) if not text.startswith("hydra.searchpath")]


def _print_outcome(job: Path) -> None:
    results = job / "results.json"
    if results.exists():
        found = json.loads(results.read_text())
        writer = "prompts" if "rows" in found else "job_table"
        print(import_module(f"selfdebias.report.{writer}").render_table(found, width=80))
        for line in import_module("selfdebias.report.job_table").skipped_in_words(found):
            print(line)
    page = job / "report.html"
    print(f"report: {page}" if page.exists() else f"job: {job}")


def run_numbered() -> Any:
    """Runs the job that Hydra is at, and records what became of it.

    Returns:
        The objectives that the sweeper asks for, NaN where the job failed or does not measure them.

    Raises:
        Ended: If the jobs share this process and there is no space left.
        KeyboardInterrupt: On Ctrl-C or SIGTERM.
    """
    from hydra.core.hydra_config import HydraConfig

    running = HydraConfig.get()
    num, sweep = int(running.job.num), SweepFolder(Path(running.sweep.dir))
    submitted = running.launcher["_target_"] != BASIC
    os.chdir(running.runtime.cwd)  # which relative paths are meant from
    if submitted:
        os.environ["SLURM_JOB_NAME"] = "bash"  # Lightning then leaves processes and signals of the cluster alone
    if submitted and (sweep.path / STOP).exists():
        return None
    overrides = [str(text) for text in running.overrides.task]
    print(f"\njob {num}: {shlex.join(overrides)}", flush=True)
    with sigterm_as_ctrl_c(), sweep.held(num):
        error = _record(sweep, num, overrides, running)
    if error is not None and disk_is_full(error) and not submitted:
        raise Ended(error) from error
    names = running.sweeper.get("objectives")
    if names is None:
        return None
    job = sweep.root / sweep.state(num).job
    return [NAN] * len(names) if error is not None else values_of_job(job, names)


def _record(sweep: SweepFolder, num: int, overrides: Sequence[str], running: Any) -> Exception | None:
    """Runs a job, and writes its state before and after; returns the error of a job that failed."""
    begun, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    state = JobState(RUNNING, started=begun, process=os.getpid(), host=platform.node())
    (sweep.of_job(num) / ERROR).unlink(missing_ok=True)
    sweep.write_state(num, state)
    try:
        job = _run(sweep, overrides, running)
    except Exception as error:
        code, line = _failure(error)
        with contextlib.suppress(OSError):  # the disk may be full
            if explained(error) is None:
                write_text(sweep.of_job(num) / ERROR, redacted_command(traceback.format_exc()))
            seconds = round(time.monotonic() - start, 1)
            sweep.write_state(
                num, replace(state, state=FAILED, code=code, error=redacted_command(line), seconds=seconds)
            )
        print(f"job {num}: failed: {line}", file=sys.stderr, flush=True)
        return error
    except BaseException:
        sweep.write_state(num, replace(state, state=STOPPED))
        raise
    seconds = round(time.monotonic() - start, 1)
    sweep.write_state(num, replace(state, state=DONE, job=job, seconds=seconds))
    print(f"job {num}: done in {seconds:.1f} s, {sweep.root / job}", flush=True)
    return None


def _run(sweep: SweepFolder, overrides: Sequence[str], running: Any) -> str:
    """Runs a job, under the sweep's name in W&B; returns its folder, as a path under the root of runs."""
    from selfdebias.jobs.job import hash_of_job, run_job
    from selfdebias.jobs.processes import run_in_processes

    sources = running_sources(running)
    config = load([*overrides, *settings_in(running)], sources)
    check_names(config)
    if not wants_several(config):
        return str(run_job(config, overrides, group=sweep.path.name).relative_to(config["paths"]["root"]))
    check_early(config)
    if config["logger"].get("wandb", {}).get("group", "") is None:
        overrides = [*overrides, f"logger.wandb.group={sweep.path.name}"]
    run_in_processes([*sources.flags, *overrides], config["trainer"]["devices"])
    return f"jobs/{hash_of_job(config)}"


def _failure(error: Exception) -> tuple[int, str]:
    """Exit code and one line of an error."""
    known = explained(error)
    if known is None:
        lines = str(error).strip().splitlines()
        return 1, f"{type(error).__name__}{': ' + lines[0] if lines else ''}"
    return known[0], " ".join(known[1].removeprefix(PREFIX).split())
