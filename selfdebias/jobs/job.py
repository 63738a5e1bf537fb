"""One job: the stages that a configuration asks for, each run once under its key, and the folder that gathers what they left.

Torch and all that needs it are imported once a job really starts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.config.keys import digest
from selfdebias.config.rules import ConfigError
from selfdebias.jobs.early_checks import check_early
from selfdebias.jobs.job_record import record_of, start_job
from selfdebias.jobs.processes import ONE, Processes
from selfdebias.jobs.quiet import settle_libraries
from selfdebias.report.wording import plain
from selfdebias.storage.atomic import read_json, read_lines, swept
from selfdebias.storage.hidden import redacted_command

if TYPE_CHECKING:
    from selfdebias.jobs.parts import Parts
    from selfdebias.jobs.stage import Stage


def run_job(config: Mapping[str, Any], overrides: Sequence[str], processes: Processes = ONE, group: str = "") -> Path:
    """Runs the stages that `config` asks for, skipping finished ones, and gathers the job's folder.

    Args:
        config: A configuration that `selfdebias.config.compose.load` has checked.
        overrides: The command line, for the report.
        processes: This process among those that run the job; the first one alone writes what is not drawn.
        group: The sweep that it is part of, under which W&B shows its run; "" for none.

    Returns:
        The folder of the job.

    Raises:
        ConfigError: If a part refuses its values, before anything is run or any folder made.
    """
    check_early(config)
    settle_libraries()
    from selfdebias.jobs.parts import Parts
    from selfdebias.jobs.stage import folder_of
    from selfdebias.report.wandb_run import check_logger

    root, parts = Path(config["paths"]["root"]), Parts(config)
    check_logger(config["logger"])
    plan = plan_of_job(config, parts)
    stages = chosen_stages(plan, config["stages"])
    folders = {name: folder_of(stage, root) for name, stage in plan.items()}
    check_inputs(stages, {name for name, folder in folders.items() if folder.finished})
    job = root / "jobs" / config_hash(plan, config["stages"])
    places = {stage.name: str(folders[stage.name].path.relative_to(root)) for stage in stages}
    is_done = all(folders[stage.name].finished for stage in stages)
    record = record_of(job, config, overrides, places, is_done)
    if processes.part == 0:
        start_job(job, config, record)
    with swept(job) if processes.part == 0 else nullcontext():
        _run_rows(job, stages, parts, config, record, processes)
    if processes.part == 0 and {"evaluate", "report"} <= set(config["stages"]):
        _log(job, config, folders["report"].path if "report" in folders else None, group)
    return job


def hash_of_job(config: Mapping[str, Any]) -> str:
    """Returns the config hash that `run_job` names the job's folder after; nothing is run.

    Args:
        config: A configuration that `selfdebias.config.compose.load` has checked.
    """
    from selfdebias.jobs.parts import Parts

    return config_hash(plan_of_job(config, Parts(config)), config["stages"])


def plan_of_job(config: Mapping[str, Any], parts: Parts) -> dict[str, Stage]:
    """Returns the stages of a job by name, keyed by its values, weights and inputs.

    Raises:
        ConfigError: If an input that comes from outside was made in another encoder's space.
    """
    from selfdebias.jobs.evaluation_inputs import check_encoder, fingerprint_inputs
    from selfdebias.jobs.run import make_plan
    from selfdebias.metrics.cached import identity

    found, evaluate = parts.fingerprints(), config["evaluate"]
    features = getattr(parts.by_group["metrics"], "features", None)
    encoder = identity(parts.by_group["encoder"])
    check_encoder(evaluate, encoder, "" if features is None else identity(features), found.get("encoder", ""))
    for name, value in fingerprint_inputs(evaluate).items():
        found[name] = " ".join([value, *([found[name]] if name in found else [])])
    return make_plan(config, found)


def chosen_stages(plan: Mapping[str, Stage], kinds: Sequence[str]) -> list[Stage]:
    """The stages of the plan that `stages` asks for, in the order of the plan; evaluate alone reads the reference."""
    chosen = [stage for stage in plan.values() if stage.kind in kinds]
    return [stage for stage in chosen if "evaluate" in kinds or not stage.draws_reference]


def check_inputs(stages: Sequence[Stage], finished: set[str]) -> None:
    """Refuses a choice of stages that leaves out one whose results are needed and not there.

    Raises:
        ConfigError: If a stage reads one that is neither chosen nor finished.
    """
    there = finished | {stage.name for stage in stages}
    for stage in stages:
        for read in stage.before:
            if read.name not in there:
                raise ConfigError(f"`stages` must include {read.kind}: {stage.kind} reads it, and none is there.")


def config_hash(plan: Mapping[str, Stage], kinds: Sequence[str]) -> str:
    """The hash of the whole job: of its stages' keys and of the kinds of stages that it runs."""
    keys = {stage.name: stage.key for stage in chosen_stages(plan, kinds)}
    return digest({"stages": list(kinds), "keys": keys})


def _run_rows(
    job: Path, stages: Sequence[Stage], parts: Parts, config: Mapping[str, Any], record: Mapping[str, Any], processes: Processes
) -> None:  # fmt: skip
    """Runs what all rows share, then row by row, and gathers each, so that a row can be read while the next one runs."""
    from selfdebias.jobs.gathering import gather_row, gather_rows
    from selfdebias.jobs.prompts import BANK, prompts_of_bank, rows_of
    from selfdebias.jobs.stage import Runner

    root, rows = Path(config["paths"]["root"]), rows_of(config)
    of_bank = next(iter(prompts_of_bank(config).values()), config["prompts"])
    for name, own in {BANK: {**config, "prompts": of_bank}, **rows}.items():
        mine = [stage for stage in stages if stage.row == name]
        if name in rows and name:
            print(f"[{list(rows).index(name) + 1}/{len(rows)}] {name}", flush=True)
        run = Runner(root, {**parts.by_group, "job": {**record, "config": dict(own)}}, processes).run
        for stage in mine:
            run(stage)
        if mine and processes.part == 0:
            gather_row(job, name, own, mine, record, parts.by_group.get("encoder"))
    if processes.part == 0 and "" not in rows:
        gather_rows(job, config, list(rows), record)


def _log(job: Path, config: Mapping[str, Any], report: Path | None, group: str) -> None:
    """Hands the finished job to its logger, once; a job with rows has no report of its own, and logs their numbers."""
    from selfdebias.jobs.stages.report import read_figures
    from selfdebias.report.privacy import nameless
    from selfdebias.report.wandb_log import log_job
    from selfdebias.report.wandb_run import is_logged, make_logger, mark_logged, mode_of

    if mode_of(config["logger"]) == "disabled":
        return
    results = read_json(job / "results.json")
    figures, lines = ({}, []) if report is None else (read_figures(report), read_lines(job / "metrics.jsonl"))
    try:
        if is_logged(job, config["logger"]):
            return
        with nameless(job, config["logger"].get("save_dir")) as place:
            fitted = place if config["logger"].get("log_model") else None
            run = log_job(make_logger(config["logger"], place, group), results, figures, lines, config, fitted)
    except Exception as error:  # whatever W&B says, the job is done, and its results are here
        reason = plain(redacted_command(str(error).splitlines()[0] if str(error) else type(error).__name__))
        print(f"selfdebias: nothing was logged to W&B ({reason}); all results are here.", file=sys.stderr)
        return
    if run:
        mark_logged(job, run, mode_of(config["logger"]))
