"""One job of a sweep: it runs, and its outcome is recorded; a failed one does not end the others."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selfdebias.config.compose import load
from selfdebias.config.targets import check_names
from selfdebias.jobs.commands import outcome
from selfdebias.jobs.early_checks import check_early
from selfdebias.jobs.failures import disk_is_full, explained, sigterm_as_ctrl_c
from selfdebias.jobs.processes import run_in_processes, wants_several
from selfdebias.jobs.sweeps.record import DONE, ERROR, FAILED, RUNNING, STOP, STOPPED, JobState, SweepFolder
from selfdebias.storage.atomic import write_text
from selfdebias.storage.hidden import redacted_command

PREFIX = "selfdebias: "


class DiskFullError(BaseException):
    """The disk is full, which ends the whole sweep; no `Exception`, since Hydra would go on with the next job."""


class JobFailedError(Exception):
    """A job of several processes failed, and these have said why.

    Args:
        code: exit code of the job.
        line: what was wrong.
    """

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


def run_numbered(_: Any, folder: str, place: str, submitted: bool) -> None:
    """Runs the job whose number Hydra gives, and records what became of it.

    Args:
        folder: The sweep's, absolute.
        place: The folder in which the sweep was started, which relative paths are meant from.
        submitted: Whether the job has a process of its own, which a launcher started.

    Raises:
        DiskFullError: If the jobs share this process and there is no space left.
        KeyboardInterrupt: On Ctrl-C or SIGTERM.
    """
    from hydra.core.hydra_config import HydraConfig

    num, sweep = int(HydraConfig.get().job.num), SweepFolder(Path(folder))
    os.chdir(place)
    if submitted:
        os.environ["SLURM_JOB_NAME"] = "bash"  # Lightning then leaves processes and signals of the cluster alone
    if submitted and (sweep.path / STOP).exists():
        return
    overrides = [str(text) for text in HydraConfig.get().overrides.task]
    print(f"\njob {num}: {shlex.join(overrides)}", flush=True)
    with sigterm_as_ctrl_c(), sweep.held(num):
        error = _record(sweep, num, overrides)
    if error is not None and disk_is_full(error) and not submitted:
        raise DiskFullError from error


def _record(sweep: SweepFolder, num: int, overrides: Sequence[str]) -> Exception | None:
    """Runs a job, and writes its state before and after; returns the error of a job that failed."""
    begun, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    state = JobState(RUNNING, started=begun, process=os.getpid(), host=platform.node())
    (sweep.of_job(num) / ERROR).unlink(missing_ok=True)
    sweep.write_state(num, state)
    try:
        job = _run(sweep, overrides)
    except Exception as error:
        code, line = _failure(error)
        with contextlib.suppress(OSError):  # the disk may be full
            if explained(error) is None and not isinstance(error, JobFailedError):
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


def _run(sweep: SweepFolder, overrides: Sequence[str]) -> str:
    """Runs a job, under the sweep's name in W&B; returns its folder, as a path under the root of runs."""
    config = load(overrides)
    check_names(config)
    check_early(config)  # before the slow imports
    if not wants_several(config):
        from selfdebias.jobs.job import run_job

        return str(run_job(config, overrides, group=sweep.path.name).relative_to(config["paths"]["root"]))
    if config["logger"].get("group", "") is None:
        overrides = [*overrides, f"logger.group={sweep.path.name}"]
    code, line = run_in_processes(outcome, overrides, config["trainer"]["devices"])
    if code:
        raise JobFailedError(code, line)
    return _newest(sweep.root, overrides)


def _newest(root: Path, overrides: Sequence[str]) -> str:
    """The folder that a job of several processes wrote, which they do not say: the newest one of its command line."""
    command = redacted_command(shlex.join(["selfdebias", *overrides]))
    files = [file for file in root.glob("jobs/*/job.json") if json.loads(file.read_text())["command"] == command]
    return str(max(files, key=lambda file: file.stat().st_mtime).parent.relative_to(root))


def _failure(error: Exception) -> tuple[int, str]:
    """Exit code and one line of an error."""
    if isinstance(error, JobFailedError):
        return error.code, " ".join(str(error).removeprefix(PREFIX).split())
    known = explained(error)
    if known is None:
        lines = str(error).strip().splitlines()
        return 1, f"{type(error).__name__}{': ' + lines[0] if lines else ''}"
    return known[0], known[1].removeprefix(PREFIX)
