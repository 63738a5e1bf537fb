"""What a job's folder gathers from the stages: what a reader wants, and what `SelfDebias.from_pretrained` reads.

A job with a row for each prompt has such a folder for each of them, and beside these their means, a table and a page of links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdebias.jobs.model_card import BANK as BANK_FILE
from selfdebias.jobs.model_card import MEANS, PROJECTOR, facts_of_run, write_facts
from selfdebias.jobs.prompts import BANK
from selfdebias.jobs.stage import Stage, folder_of
from selfdebias.metrics.prompts import over_prompts
from selfdebias.report.flat_tables import csv_of
from selfdebias.report.gallery import within_budget
from selfdebias.report.prompts import markdown_table, render_prompt_page
from selfdebias.storage.atomic import link_or_copy, read_json, write_bytes, write_json, write_text
from selfdebias.storage.images import read_sheet

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
        gather_debiaser(place, config, paths, encoder)


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
        write_bytes(place / "table.md", (paths["evaluate"] / "table.md").read_bytes())


def gather_debiaser(place: Path, config: Mapping[str, Any], paths: Mapping[str, Path], encoder: Any) -> None:
    """Links projector, bank and means from the stages' folders, and writes the model card; arguments as in `facts_of_run`."""
    for name in (PROJECTOR, BANK_FILE, MEANS):
        left = [paths[stage] / name for stage in ("project", "discover") if (paths[stage] / name).exists()]
        for path in left[:1]:  # modes found among projected vectors have no means
            link_or_copy(path, place / name)
    write_facts(place, facts_of_run(config, paths, encoder))


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
