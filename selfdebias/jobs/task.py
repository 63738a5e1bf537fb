"""One job, as Hydra calls it: alone, or as one of a sweep, where its outcome is recorded and a failed one ends no other."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selfdebias.config.compose import load
from selfdebias.config.notes import notes_on_subjects
from selfdebias.config.sources import running_overrides, running_sources
from selfdebias.config.targets import check_names
from selfdebias.jobs.announcements import say_replaced, seen_at_once, start_in_words
from selfdebias.jobs.early_checks import check_early, wants_several
from selfdebias.jobs.failures import Ended, disk_is_full, explained, is_rank, sigterm_as_ctrl_c
from selfdebias.jobs.sweeps.objectives import MODE_FD, values_of_job
from selfdebias.jobs.sweeps.record import DONE, ERROR, FAILED, RUNNING, STOP, STOPPED, JobState, SweepFolder
from selfdebias.storage.atomic import write_text
from selfdebias.storage.hidden import redacted_command, redacted_words

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
        return run_numbered(running)
    try:
        sources, overrides = running_sources(running), [str(text) for text in running.overrides.task]
        config = load(running_overrides(running), sources)
        if not is_rank() and any(text.startswith("prompts.subjects=") for text in overrides):
            for note in notes_on_subjects(overrides, config["prompts"]["subjects"], sources):
                print(note)
        if not is_rank():
            say_replaced(overrides, sources)
        if config["stages"] == ["table"]:
            from selfdebias.jobs.sweeps.table import remake_table

            remake_table(config["table"])
        else:
            run_in_ranks(config, [*sources.shown, *overrides], sys.argv[1:])
    except Exception as error:
        raise Ended(error) from error
    return None


def run_in_ranks(config: Mapping[str, Any], words: Sequence[str], arguments: Sequence[str], sweep: str = "") -> Path:
    """Runs a job in as many processes as it wants.

    Args:
        config: The resolved configuration.
        words: Overrides that ask for it, without a folder.
        arguments: The command line of each process, where the job wants several.
        sweep: The name of the sweep that it is part of; the outcome of other jobs is printed.

    Returns:
        The job's folder.
    """
    if seen_at_once() and not is_rank():
        print(*start_in_words(config), sep="\n", flush=True)
    check_early(config)  # before torch comes, which is slow
    from selfdebias.jobs.job import hash_of_job, run_job
    from selfdebias.jobs.processes import processes_of_environment, run_in_processes

    if wants_several(config) and not is_rank():
        run_in_processes(arguments, config["trainer"]["devices"])
        return Path(config["paths"]["root"], "jobs", hash_of_job(config))
    processes = processes_of_environment()
    if processes.world_size > 1:  # of which there may be more or less, where they were started from outside
        shared = {"devices": processes.world_size, "strategy": "ddp", "use_distributed_sampler": False}
        config = {**config, "trainer": {**config["trainer"], **shared}}
    job = run_job(config, words, processes, sweep)
    if processes.rank == 0 and not sweep:
        _print_outcome(job)
    return job


def _print_outcome(job: Path) -> None:
    """Prints the end of a job, with plain signs in place of what the terminal's encoding has not."""
    from selfdebias.jobs.outcome import render_outcome

    encoding = sys.stdout.encoding or "ascii"
    print(render_outcome(job, encoding).encode(encoding, "replace").decode(encoding), flush=True)


def run_numbered(running: Any) -> list[float] | float | None:
    """Runs a job of a sweep, and records what became of it.

    Args:
        running: Hydra's own section of its configuration.

    Returns:
        The objectives that the sweeper asks for, or `mode_fd` for one that names none; NaN where the job failed or does not
        measure them.

    Raises:
        Ended: If the jobs share this process and there is no space left.
        KeyboardInterrupt: On Ctrl-C or SIGTERM.
    """
    num, sweep = int(running.job.num), SweepFolder(Path(running.sweep.dir))
    submitted = running.launcher["_target_"] != BASIC
    os.chdir(running.runtime.cwd)  # which relative paths are meant from
    if submitted:
        os.environ["SLURM_JOB_NAME"] = "bash"  # Lightning then leaves processes and signals of the cluster alone
    if submitted and (sweep.path / STOP).exists():
        return None
    overrides = [str(text) for text in running.overrides.task]
    print(f"\njob {num}: {redacted_words(overrides)}", flush=True)
    with sigterm_as_ctrl_c(), sweep.held(num):
        error = _record(sweep, num, overrides, running)
    if error is not None and disk_is_full(error) and not submitted:
        raise Ended(error) from error
    names = running.sweeper.get("objectives")
    values = values_of_job(sweep.root / sweep.state(num).job, names or [MODE_FD])
    return values if names else values[0]


def _record(sweep: SweepFolder, num: int, overrides: Sequence[str], running: Any) -> Exception | None:
    """Runs a job, and writes its state before and after; returns the error of a job that failed."""
    begun, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    state = JobState(RUNNING, started=begun, process=os.getpid(), host=platform.node())
    (sweep.of_job(num) / ERROR).unlink(missing_ok=True)
    sweep.write_state(num, state)

    def ended(**facts: Any) -> None:
        sweep.write_state(num, replace(state, seconds=round(time.monotonic() - start, 1), **facts))

    try:
        job = _run(sweep, overrides, running)
    except Exception as error:
        code, said = explained(error) or (1, traceback.format_exception_only(error)[0].strip().partition("\n")[0])
        line = " ".join(said.removeprefix("selfdebias: ").split())
        with contextlib.suppress(OSError):  # the disk may be full
            if explained(error) is None:
                write_text(sweep.of_job(num) / ERROR, redacted_command(traceback.format_exc()))
            ended(state=FAILED, code=code, error=redacted_command(line))
        print(f"job {num}: failed: {line}", file=sys.stderr, flush=True)
        return error
    except BaseException:
        ended(state=STOPPED)
        raise
    ended(state=DONE, job=job)
    print(f"job {num}: done in {time.monotonic() - start:.1f} s, {sweep.root / job}", flush=True)
    return None


def _run(sweep: SweepFolder, overrides: Sequence[str], running: Any) -> str:
    """Runs a job, under the sweep's name in W&B; returns its folder, as a path under the root of runs."""
    sources, name = running_sources(running), sweep.path.name
    config = load(running_overrides(running), sources)
    check_names(config)
    own = config["logger"].get("wandb", {}).get("group", "") is None
    arguments = [*sources.flags, *overrides, *([f"logger.wandb.group={name}"] if own else [])]
    return str(run_in_ranks(config, [*sources.shown, *overrides], arguments, name).relative_to(config["paths"]["root"]))
