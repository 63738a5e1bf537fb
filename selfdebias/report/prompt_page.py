"""The page of a job with a row for each prompt: its table, and links to the pages of the rows. Self-contained, no scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from selfdebias.report.page import environment, settings, warnings
from selfdebias.report.prompt_table import (
    columns,
    explanations,
    headline,
    means_of,
    names_of,
    table_rows,
    verdicts_of,
)
from selfdebias.report.wording import Notes, plain
from selfdebias.storage.hidden import redacted_command
from selfdebias.storage.provenance import in_words


def render_prompt_page(results: Mapping[str, Any], job: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Fills the template.

    Args:
        results: The contents of `results.json` of a job with rows.
        job: `{"command": command line, "config": resolved configuration, ...}`.
        pictures: PNG file of the first images of each row, vanilla above guided.

    Returns:
        An HTML document; every foreign text in it is escaped. Its links are relative, to `rows/<row>/report.html`.
    """
    notes, links = Notes(), [f"rows/{quote(row)}/report.html" for row in names_of(results)]
    tables, attributes = [], results["prompts"]["attributes"]
    for attribute in attributes:
        titles, *rows = table_rows(results, columns(results, attribute, notes, intervals=True))
        body, ends = rows[: len(links)], rows[len(links) :]
        said = [*means_of(results, attribute), *verdicts_of(results, attribute)]
        tables.append((plain(attribute), titles, list(zip(links, body, strict=True)), ends, said))
    return (
        environment()
        .get_template("prompts.html.j2")
        .render(
            count=len(links),
            warnings=list(dict.fromkeys(text for row in results["rows"].values() for text in warnings(row))),
            headline=headline(results),
            verdicts=[f"{plain(name)}: {text}" for name in attributes for text in verdicts_of(results, name)],
            settings=settings(job["config"]),
            tables=tables,
            pictures=[
                (link, name, pictures[row]) for link, (row, name) in zip(links, names_of(results).items(), strict=True)
            ],
            notes=[*explanations(results), *notes.lines()],
            command=plain(redacted_command(str(job.get("command") or "selfdebias"))),
            config_hash=results["config_hash"],
            made_with=in_words(job.get("made_with", {})),
        )
    )
