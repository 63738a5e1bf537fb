"""What a job with a row for each prompt gathers beside its rows: their results, the means, a table and a page of links."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdebias.jobs.fitted_prompts import BANK
from selfdebias.metrics.prompts import over_prompts
from selfdebias.report.flat_tables import csv_of
from selfdebias.report.gallery import within_budget
from selfdebias.report.prompts import markdown_table, render_prompt_page
from selfdebias.storage.atomic import write_json, write_text
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
    found = {row: json.loads((folder_of_row(job, row) / "results.json").read_text()) for row in rows}
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
