"""One job, as Hydra calls it: alone, or as one of a sweep. Torch and all that needs it are imported once it really starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from selfdebias.config.compose import load, notes_on_subjects
from selfdebias.config.sources import running_sources
from selfdebias.jobs.early_checks import check_early
from selfdebias.jobs.failures import Ended
from selfdebias.jobs.processes import Processes, is_rank, processes_of_environment, run_in_processes, wants_several


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
        from selfdebias.jobs.sweeps.running import run_numbered

        return run_numbered()
    try:
        sources, overrides = running_sources(running), [str(text) for text in running.overrides.task]
        config = load([*overrides, *settings_in(running)], sources)
        if not is_rank() and any(text.startswith("prompts.subjects=") for text in overrides):
            print(
                "".join(f"{it}\n" for it in notes_on_subjects(overrides, config["prompts"]["subjects"], sources)),
                end="",
            )
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
    if wants_several(config) and not is_rank():
        run_in_processes(arguments, config["trainer"]["devices"])
        return
    from selfdebias.jobs.job import run_job

    processes = processes_of_environment()
    job = run_job(with_ranks(config, processes), words, processes)
    if processes.rank == 0:
        _print_outcome(job)


def with_ranks(config: Mapping[str, Any], processes: Processes) -> dict[str, Any]:
    """The configuration with as many devices as processes were started from outside, if any were."""
    if processes.world_size == 1:
        return dict(config)
    shared = {
        "devices": processes.world_size,
        "strategy": "ddp",
        "use_distributed_sampler": False,
    }  # as trainer=ddp has
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
