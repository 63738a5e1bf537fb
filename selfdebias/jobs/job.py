"""One job: the stages that a configuration asks for, each run once under its key, and the folder that gathers what they left.

A job with a row for each prompt has such a folder for each of them, and beside these their means, a table and a page of links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from selfdebias.jobs.announcements import seen_at_once, start_in_words, untold_in_words
from selfdebias.jobs.early_checks import check_early
from selfdebias.jobs.evaluation_inputs import check_encoder, discover_folder, fingerprint_inputs
from selfdebias.jobs.job_record import record_of, signed, start_job
from selfdebias.jobs.libraries import settle_libraries
from selfdebias.jobs.model_card import gather_debiaser
from selfdebias.jobs.parts import Parts
from selfdebias.jobs.processes import ONE, Processes
from selfdebias.jobs.prompts import BANK, prompts_of_bank, rows_of
from selfdebias.jobs.run import make_plan, with_inputs
from selfdebias.jobs.stage import Runner, Stage, check_inputs, chosen_stages, config_hash, folder_of
from selfdebias.jobs.stages.report import page_of_folders, read_figures
from selfdebias.jobs.sweeps.record import SweepFolder
from selfdebias.metrics.features import identity
from selfdebias.metrics.prompts import over_prompts
from selfdebias.report import job_table
from selfdebias.report.loggers import check_loggers, log_finished, names_of
from selfdebias.report.measures import csv_of
from selfdebias.report.pairs import first_look, within_budget
from selfdebias.report.prompts import markdown_table, render_prompt_page
from selfdebias.storage.atomic import link_or_copy, read_json, read_lines, swept, write_bytes, write_json, write_text
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import read_sheet


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

    root, parts = Path(config["paths"]["root"]), Parts(config)
    check_loggers(config["logger"])
    plan = plan_of_job(config, parts)
    stages = chosen_stages(plan, config["stages"])
    folders = {name: folder_of(stage, root) for name, stage in plan.items()}
    check_inputs(stages, {name for name, folder in folders.items() if folder.finished})
    job = root / "jobs" / config_hash(plan, config["stages"])
    read = with_inputs(stages)
    places = {name: str(folders[name].path.relative_to(root)) for name in plan if name in read}
    is_done = all(folders[stage.name].finished for stage in stages)
    record = record_of(job, config, overrides, places, is_done)
    if processes.rank == 0:
        start_job(job, config, record)
        _announce(config, is_done, group)
    stages = [signed(stage, record) for stage in stages]
    with swept(job) if processes.rank == 0 else nullcontext():
        _run_rows(job, stages, parts, config, record, processes)
    if processes.rank == 0 and "evaluate" in config["stages"]:
        reported = "report" in folders and "report" in config["stages"]
        _log(job, config, folders["report"].path if reported else None, group)
    return job


def _announce(config: Mapping[str, Any], is_done: bool, sweep: str) -> None:
    """Says what starts, unless that was said before anything slow, and what its images cannot tell; of a finished job nothing."""
    has_seeds = bool(sweep) and SweepFolder(Path(config["paths"]["root"], "sweeps", sweep)).varies("generate.seed")
    said = [] if is_done else untold_in_words(config, has_seeds)
    for line in [*([] if is_done or seen_at_once() else start_in_words(config)), *said]:
        print(line, flush=True)


def hash_of_job(config: Mapping[str, Any]) -> str:
    """Returns the config hash that `run_job` names the job's folder after; nothing is run.

    Args:
        config: A configuration that `selfdebias.config.compose.load` has checked.
    """
    return config_hash(plan_of_job(config, Parts(config)), config["stages"])


def plan_of_job(config: Mapping[str, Any], parts: Parts) -> dict[str, Stage]:
    """Returns the stages of a job by name, keyed by its values, weights and inputs.

    Raises:
        ConfigError: If an input that comes from outside was made in another encoder's space.
    """
    found, evaluate = parts.fingerprints(), config["evaluate"]
    features = getattr(parts.by_group["metrics"], "features", None)
    encoder = identity(parts.by_group["encoder"])
    check_encoder(evaluate, encoder, "" if features is None else identity(features), found.get("encoder", ""))
    for name, value in fingerprint_inputs(evaluate).items():
        found[name] = " ".join([value, *([found[name]] if name in found else [])])
    return make_plan(config, found)


def _run_rows(
    job: Path, stages: Sequence[Stage], parts: Parts, config: Mapping[str, Any], record: Mapping[str, Any], processes: Processes
) -> None:  # fmt: skip
    """Runs what all rows share, then row by row, and gathers each, so that a row can be read while the next one runs."""
    root, rows = Path(config["paths"]["root"]), rows_of(config)
    of_bank = next(iter(prompts_of_bank(config).values()), config["prompts"])
    for name, own in {BANK: {**config, "prompts": of_bank}, **rows}.items():
        mine = [stage for stage in stages if stage.row == name]
        if name in rows and name:
            print(f"[{list(rows).index(name) + 1}/{len(rows)}] {name}", flush=True)
        run = Runner(root, {**parts.by_group, "job": {**record, "config": dict(own)}}, processes).run
        for stage in mine:
            is_new = not folder_of(stage, root).finished
            run(stage)
            if is_new and stage.kind == "generate" and stage.arm == "guided" and processes.rank == 0:
                _show_first(folder_of_row(job, name), mine, root)
        if mine and processes.rank == 0:
            gather_row(job, name, own, mine, record, parts.by_group.get("encoder"))
    if processes.rank == 0 and "" not in rows:
        gather_rows(job, config, list(rows), record)


def _show_first(place: Path, stages: Sequence[Stage], root: Path) -> None:
    """Writes the picture of the first pairs once both arms are drawn, for whoever waits for the report, which frames them."""
    places = {it.arm: folder_of(it, root).path for it in stages if it.kind == "generate"}
    if "vanilla" in places:
        picture = first_look(BatchFolder.open(places["vanilla"]), BatchFolder.open(places["guided"]))
        write_bytes(place / "first.png", within_budget({"first": picture})["first"])
        print(f"first images, vanilla above guided: {place / 'first.png'}", flush=True)


def _log(job: Path, config: Mapping[str, Any], report: Path | None, group: str) -> None:
    """Hands the finished job to each logger, once; a job with rows has no report of its own, and logs their numbers."""
    names = names_of(config["logger"])
    if names:
        results = read_json(job / "results.json")
        figures, curves = {} if report is None else read_figures(report), job / "metrics.jsonl"
        lines = read_lines(curves) if curves.exists() else []
    for name in names:
        log_finished(job, name, config["logger"][name], results, figures, lines, config, group)


ROWS = "rows"


def folder_of_row(job: Path, row: str) -> Path:
    """The folder that gathers what a row left; the job's own where there are no rows; `bank` for what all rows share.

    Example:
        >>> [folder_of_row(Path("job"), row).as_posix() for row in ("farmer", "", BANK)]
        ['job/rows/farmer', 'job', 'job/bank']
    """
    if row == BANK:
        return Path(job) / "bank"
    return Path(job) / ROWS / row if row else Path(job)


def gather_row(
    job: Path, row: str, config: Mapping[str, Any], stages: Sequence[Stage], record: Mapping[str, Any], encoder: Any
) -> None:
    """Copies what a reader of a row wants into its folder, and makes it one that `SelfDebias.from_pretrained` reads.

    Args:
        job: Folder of the job.
        row: Name of the row, "" in a job of one prompt, `BANK` for what all rows share.
        config: The row's configuration.
        stages: Those of the row that have run.
        record: `{"config_hash": ..., "command": ...}`.
        encoder: The job's encoder, for its name.
    """
    place, root = folder_of_row(job, row), Path(config["paths"]["root"])
    of_bank = row == BANK  # whose collect stages are told apart by their prompts
    paths = {it.kind if of_bank or not it.arm else f"{it.kind}/{it.arm}": folder_of(it, root).path for it in stages}
    for stage in stages:
        if "projected" in stage.inputs:  # of another row where all share one
            paths["project"] = folder_of(stage.inputs["projected"], root).path
    _gather_results(place, config, paths, record)
    if {"collect", "discover", "project"} <= paths.keys():
        gather_debiaser(place, config, paths, encoder, str(record.get("command", "")))


def _gather_results(
    place: Path, config: Mapping[str, Any], paths: Mapping[str, Path], record: Mapping[str, Any]
) -> None:
    curves = [path / "metrics.jsonl" for path in paths.values()]
    write_bytes(place / "metrics.jsonl", b"".join(path.read_bytes() for path in curves if path.exists()))
    if "evaluate" in paths:
        results = read_json(paths["evaluate"] / "results.json")
        drawn = () if config["evaluate"]["folders"] else ("collect", "generate")
        results |= {"config_hash": record["config_hash"], "seeds": {stage: config[stage]["seed"] for stage in drawn}}
        write_json(place / "results.json", results)
        write_text(place / "results.csv", csv_of(results))
    if "report" in paths:
        for name in ("report.html", "table.md"):
            write_bytes(place / name, (paths["report"] / name).read_bytes())
        write_bytes(place / "first.png", (paths["report"] / "figures" / "first.png").read_bytes())
    elif config["evaluate"]["folders"]:
        modes = config["evaluate"]["modes"]
        if found := discover_folder(modes) if modes else None:
            link_or_copy(found / "modes.json", place / "modes.json")  # of another job, for whoever reads this folder
        write_bytes(place / "table.md", (paths["evaluate"] / "table.md").read_bytes())
        asked = {**record, "config": config}, paths["evaluate"], found, config["report"]["images"]
        write_text(place / "report.html", page_of_folders(*asked))
    elif "evaluate" in paths and results["arms"]:
        write_text(place / "table.md", job_table.markdown_table(results))


def gather_rows(job: Path, config: Mapping[str, Any], rows: Sequence[str], record: Mapping[str, Any]) -> None:
    """Writes `results.json` and `results.csv`, and `table.md` and `report.html` where the rows have reports.

    All of it is made from the rows' own folders; the page shows the `first.png` of each row.

    Args:
        job: Folder of the job.
        config: Its resolved configuration.
        rows: Names of its rows.
        record: `{"config_hash": ..., "command": ...}`.
    """
    if "evaluate" not in config["stages"]:
        return
    found = {row: read_json(folder_of_row(job, row) / "results.json") for row in rows}
    results = {
        "config_hash": record["config_hash"],
        "seeds": {stage: config[stage]["seed"] for stage in ("collect", "generate")},
        "prompts": {key: value for key, value in config["prompts"].items() if key != "_target_"},
        "row_names": list(rows),  # in their order, which the keys of a JSON file lose
        "rows": found,
        "over_prompts": over_prompts(found),
        "skipped": {name: it for own in found.values() for name, it in own.get("skipped", {}).items()},
    }
    write_json(job / "results.json", results)
    write_text(job / "results.csv", csv_of(results))
    if "report" in config["stages"]:
        write_text(job / "table.md", markdown_table(results))
        pictures = within_budget({row: read_sheet(folder_of_row(job, row) / "first.png") for row in rows})
        write_text(job / "report.html", render_prompt_page(results, {**record, "config": config}, pictures))
