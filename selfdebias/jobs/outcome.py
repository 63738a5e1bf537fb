"""The end of a job in a terminal, made from its folder: of one prompt, of a list of prompts, or of stages that measure nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfdebias.config.files import read_plain_yaml
from selfdebias.jobs.job_record import CONFIG, read_record
from selfdebias.report import ending, ending_of_prompts
from selfdebias.report.bars import signs_of
from selfdebias.report.trial import trial_in
from selfdebias.storage.atomic import read_json

PAGE, PICTURE, TABLE, MODES = "report.html", "first.png", "table.md", "modes.json"


def render_outcome(job: Path, encoding: str = "ascii") -> str:
    """Writes the end of a job, at most 25 lines of 80 columns; a path is never cut.

    Args:
        job: Its folder.
        encoding: Of the terminal.
    """
    places, signs = places_of(job), signs_of(encoding)
    found, config = modes_of(job), read_plain_yaml(job / CONFIG)
    trial = trial_in(read_record(job).get("command"))
    results = read_json(job / "results.json") if (job / "results.json").exists() else {}
    if not results.get("rows") and not results.get("arms"):
        return ending.render_unmeasured(found, places)
    if "rows" in results:
        return ending_of_prompts.render_end(results, config, places, signs, trial)
    return ending.render_end(results, found, config, places, signs, trial)


def places_of(job: Path) -> dict[str, str]:
    """Where picture and report of a job are, or its table, or its folder at least."""
    files = {"picture": job / PICTURE, "report": job / PAGE}
    there = {name: str(path) for name, path in files.items() if path.exists()}
    table = {"table": str(job / TABLE)} if (job / TABLE).exists() else {"job": str(job)}
    return there if "report" in there else there | table


def modes_of(job: Path) -> dict[str, Any]:
    """The contents of the `modes.json` of a job of one prompt, or of what `evaluate.modes` names; {} where there is none."""
    place = read_record(job).get("stages", {}).get("discover")
    file = (job.parents[1] / place if isinstance(place, str) else job) / MODES
    return dict(read_json(file)) if file.exists() else {}
