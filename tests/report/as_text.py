"""The long tables of a job as plain text, which are easier to look into than Markdown."""

from __future__ import annotations

from typing import Any

from selfdebias.report import job_table, prompts
from selfdebias.report.table import to_text
from selfdebias.report.wording import Notes


def render_table(results: dict[str, Any], width: int = 80) -> str:
    """All tables of a job of one prompt, with their notes."""
    return to_text(job_table.headline(results), *job_table.tables_of(results), width)


def render_prompts(results: dict[str, Any], width: int = 80) -> str:
    """The table of the first attribute of a job with a list of prompts, with its notes."""
    notes = Notes()
    table = prompts.table_of(results, results["prompts"]["attributes"][0], notes)
    return to_text(prompts.headline(results), [table], [*prompts.explanations(results), *notes.lines()], width)
