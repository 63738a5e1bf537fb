"""One job: the stages that a configuration asks for, each run once under its key, and the folder that gathers what they left.

Torch and all that needs it are imported once a job really starts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.jobs.early_checks import check_early
from selfdebias.jobs.job_plan import plan_of_job
from selfdebias.jobs.job_record import record_of, start_job
from selfdebias.jobs.processes import DONE, DRAW, ONE, Processes
from selfdebias.jobs.quiet import settle_libraries
from selfdebias.report.wording import plain
from selfdebias.storage.atomic import read_json, read_lines, swept
from selfdebias.storage.hidden import redacted, redacted_command
from selfdebias.storage.provenance import made_with

if TYPE_CHECKING:
    from selfdebias.jobs.parts import Parts
    from selfdebias.jobs.plan import Step
    from selfdebias.storage.stage_folder import StageFolder


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
    from selfdebias.jobs import plan as planning
    from selfdebias.jobs.parts import Parts
    from selfdebias.jobs.rows import rows_of
    from selfdebias.report.wandb_run import check_logger
    from selfdebias.storage.stage_folder import StageFolder

    root = Path(config["paths"]["root"])
    parts, rows = Parts(config), rows_of(config)
    check_logger(config["logger"])
    plan = plan_of_job(config, parts)
    folders = {step.name: StageFolder(root, step.stage, step.key, _image_count(step, config)) for step in plan.values()}
    steps = planning.chosen_steps(plan, config["stages"])
    planning.check_inputs(steps, {name for name, folder in folders.items() if folder.finished})
    job = root / "jobs" / planning.config_hash(plan, config["stages"])
    places = {step.name: str(folders[step.name].path.relative_to(root)) for step in steps}
    is_done = all(folders[step.name].finished for step in steps)
    record = record_of(job, config, overrides, places, is_done)
    if processes.part == 0:
        start_job(job, config, record)
    with ExitStack() as running:
        if processes.part == 0:
            running.enter_context(swept(job))
        _run_rows(job, steps, rows, folders, parts, config, record, processes)
    if processes.part:
        return job
    if {"evaluate", "report"} <= set(config["stages"]):
        _log(job, config, None if "" not in rows else folders["report"].path, group)
    return job


def _run_rows(
    job: Path, steps: Sequence[Step], rows: Mapping[str, dict[str, Any]], folders: Mapping[str, StageFolder], parts: Parts,
    config: Mapping[str, Any], record: Mapping[str, Any], processes: Processes,
) -> None:  # fmt: skip
    """Runs what all rows share, then row by row, and gathers them."""
    from selfdebias.jobs.fitted_prompts import BANK
    from selfdebias.jobs.gathering import gather_rows

    shared = [step for step in steps if step.row == BANK]
    if shared:
        of_source = {**config, "prompts": shared[0].prompts or config["prompts"]}
        _run_row(job, shared, folders, parts, of_source, record, processes)
    for place, (row, own) in enumerate(rows.items(), start=1):
        print(f"[{place}/{len(rows)}] {row}\n" if row else "", end="", flush=True)
        _run_row(job, [step for step in steps if step.row == row], folders, parts, own, record, processes)
    if processes.part == 0 and "" not in rows:
        gather_rows(job, config, list(rows), record)


def _run_row(
    job: Path, steps: Sequence[Step], folders: Mapping[str, StageFolder], parts: Parts, config: Mapping[str, Any],
    record: Mapping[str, Any], processes: Processes,
) -> None:  # fmt: skip
    """Runs the steps of one row and gathers what they left, so that a row can be read while the next one runs."""
    from selfdebias.jobs.gathering import folder_of_row

    for step in steps:
        _run_step(step, folders, parts, {**record, "config": dict(config)}, processes)
    if processes.part:
        return
    paths = {step.name_in_row: folders[step.name].path for step in steps}
    for step in steps:
        if "projected" in step.inputs:  # of another row where all share one
            paths["project"] = folders[step.inputs["projected"]].path
    place = folder_of_row(job, steps[0].row)
    _gather(place, config, paths, record)
    if {"collect", "discover", "project"} <= paths.keys():
        _gather_debiaser(place, config, paths, parts)


def _run_step(
    step: Step, folders: Mapping[str, StageFolder], parts: Any, job: Mapping[str, Any], processes: Processes
) -> None:
    """Runs one step under its lock, unless it is finished, by this job or by one that it waited for."""
    from selfdebias.jobs.plan import row_of

    if processes.part:
        if processes.hear(step.name) == DRAW:
            _call(step, folders, parts, job, processes)
        return
    folder = folders[step.name]
    for name in step.before:
        folders[name].check()
    read = {folders[name].place: folders[name].content() for name in step.before}
    if not folder.finished:
        with folder.lock():
            if not folder.finished:
                print(f"{step.name} ...", flush=True)
                start = time.monotonic()
                if row_of(step).shared:
                    processes.tell(step.name, DRAW)
                _call(step, folders, parts, job, processes)
                seconds = round(time.monotonic() - start, 3)
                meta = {**redacted(step.record), "made_with": made_with(), "seconds": seconds}
                folder.finish(meta, read)
                print(f"{step.name}: done in {seconds:.1f} s", flush=True)
                processes.tell(step.name, DONE)
                return
    folder.check(read)
    print(f"{step.name}: found, skipped", flush=True)
    processes.tell(step.name, DONE)


def _image_count(step: Step, config: Mapping[str, Any]) -> int | None:
    """How many images a step is asked for; None for one that draws none."""
    from selfdebias.config.arms import reference_count

    if step.variant == "reference":
        return reference_count(config)
    return int(config[step.stage]["n_images"]) if step.stage in ("collect", "generate") else None


def _call(
    step: Step, folders: Mapping[str, StageFolder], parts: Any, job: Mapping[str, Any], processes: Processes
) -> None:
    """Calls the step's function, with all processes where it can be shared, and else in this one alone."""
    from selfdebias.jobs.plan import row_of

    arguments = _arguments(step, folders, parts, job)
    if not row_of(step).shared or processes.among == 1:
        if job["config"]["trainer"].get("strategy") == "ddp" and "trainer" in arguments:
            arguments["trainer"] = partial(arguments["trainer"], strategy="auto", devices=1)
        _function(step)(**arguments)
        return
    with processes.together() as collective:
        _function(step)(**arguments, collective=collective)


def _function(step: Step) -> Any:
    from selfdebias.jobs.plan import row_of

    return getattr(row_of(step).module, row_of(step).function.rpartition(".")[2])


def _arguments(step: Step, folders: Mapping[str, StageFolder], parts: Any, job: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of the step's function."""
    from selfdebias.config.arms import reference_count
    from selfdebias.config.evaluated_folders import DEFAULTS
    from selfdebias.config.targets import make
    from selfdebias.jobs.plan import ARGUMENTS, row_of

    stage = row_of(step)
    arguments: dict[str, Any] = {"folder": folders[step.name].path, **job["config"][step.stage]}
    if step.variant == "reference":
        arguments["n_images"] = reference_count(job["config"])
    for name in (
        "sampler",
        "relative_scale",
        "reference_images",
        *(() if step.variant == "folders" else ("folders", *DEFAULTS)),
    ):
        arguments.pop(
            name, None
        )  # the first two are part of the backbone, the third is of another stage, the others are for folders alone
    for group in stage.parts:
        arguments[ARGUMENTS.get(group, group)] = parts.get(group, step.guidance)
    if "prompts" in arguments:
        arguments["prompts"] = make({"prompts": step.prompts or job["config"]["prompts"]}, "prompts")
    for argument, name in step.inputs.items():
        arguments[argument] = folders[name].path
    if step.fitted:
        arguments["fitted"] = {prompt: folders[name].path for prompt, name in step.fitted.items()}
    if stage.keyed:
        arguments["key"] = step.key
    if step.arms:
        arguments["arms"] = {arm: folders[name].path for arm, name in step.arms.items()}
    if step.arm:
        arguments = {"projected": None, "replayed": None, **arguments, "arm": step.arm}
    if step.stage == "report":
        arguments["job"] = dict(job)
    return arguments


def _gather(job: Path, config: Mapping[str, Any], paths: Mapping[str, Path], record: Mapping[str, Any]) -> None:
    """Copies what a reader of the job wants into its folder."""
    from selfdebias.report.flat_tables import csv_of
    from selfdebias.storage.atomic import write_bytes, write_json, write_text

    curves = [path / "metrics.jsonl" for path in paths.values()]
    write_bytes(job / "metrics.jsonl", b"".join(path.read_bytes() for path in curves if path.exists()))
    if "evaluate" in paths:
        results = read_json(paths["evaluate"] / "results.json")
        drawn = () if config["evaluate"]["folders"] else ("collect", "generate")
        seeds = {stage: config[stage]["seed"] for stage in drawn}
        results |= {"config_hash": record["config_hash"], "seeds": seeds}
        write_json(job / "results.json", results)
        write_text(job / "results.csv", csv_of(results))
    if "report" in paths:
        for name in ("report.html", "table.md"):
            write_bytes(job / name, (paths["report"] / name).read_bytes())
        write_bytes(job / "first.png", (paths["report"] / "figures" / "first.png").read_bytes())
    elif config["evaluate"]["folders"]:
        write_bytes(job / "table.md", (paths["evaluate"] / "table.md").read_bytes())


def _gather_debiaser(job: Path, config: Mapping[str, Any], paths: Mapping[str, Path], parts: Parts) -> None:
    """Makes the job's folder one that `SelfDebias.from_pretrained` reads."""
    from selfdebias.jobs.model_card import BANK, MEANS, PROJECTOR, facts_of_run, write_facts
    from selfdebias.storage.atomic import link_or_copy

    for name in (PROJECTOR, BANK, MEANS):
        left = [paths[step] / name for step in ("project", "discover") if (paths[step] / name).exists()]
        for path in left[:1]:  # modes found among projected vectors have no means
            link_or_copy(path, job / name)
    write_facts(job, facts_of_run(config, paths, parts.get("encoder", {})))


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
