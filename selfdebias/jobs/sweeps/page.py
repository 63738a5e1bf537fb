"""The page of a sweep: table, plot and best trials, the images of its jobs beside each other, and the way to each report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from selfdebias.jobs.sweeps.columns import Row, short_names
from selfdebias.jobs.sweeps.finished import Source, SweptJob
from selfdebias.jobs.sweeps.pareto import Plot, Point
from selfdebias.jobs.sweeps.pictures import image_blocks
from selfdebias.report.page import environment
from selfdebias.report.pairs import within_budget
from selfdebias.report.table import Column, Table
from selfdebias.report.wording import number, plain

REPORT = "report.html"
NO_REPORT = "no report: `report` was not among its stages"
MANY = 12  # values of a key that are told one by one
WIDTH = 140  # signs of a table's line that fit into the page


def render_sweep_page(
    source: Source, headline: str, rows: Sequence[Row], tables: Sequence[Table], notes: Sequence[str], plot: Plot | None,
    verdicts: Sequence[str] = (),
) -> str:  # fmt: skip
    """Fills the template.

    Args:
        source: The jobs.
        headline: What was swept, in one line.
        rows: What each row of the first table is.
        tables: The numbers with their intervals, and the best trials of a search.
        notes: What a reader has to know about the numbers.
        plot: The trade-off; None where no job has both numbers.
        verdicts: How rows stand against vanilla and each other, as in the terminal.

    Returns:
        An HTML document; every foreign text in it is escaped. Its links are relative to `source.place`.
    """
    table, *best = tables
    blocks, pictures = image_blocks(source)
    links = {job.name: link_to(job, source.place) for job in source.jobs}
    missing = [job for job in source.jobs if job.why]
    return environment().get_template("sweep.html.j2").render(
        headline=headline.removeprefix("SelfDebias sweep: "),
        verdicts=[*map(_sentence, verdicts)],
        missing=f"{len(missing)} of {len(source.jobs)} jobs are not in the numbers" if missing else "",
        swept=_swept(source),
        best=best,
        tables=parts_that_fit(table),
        links=[_row_links(row, links) for row in rows],
        plot=plot,
        alt=_plot_in_words(plot) if plot else "",
        front=", ".join(_point(point) for point in plot.front) if plot else "",
        blocks=blocks,
        of_jobs=links,
        files=within_budget(pictures),
        jobs=_jobs(source),
        reports=[links[job.name] for job in source.jobs],
        notes=[note for note in notes if not note.startswith(("not in the numbers: ", "config hashes: "))],  # in `jobs`
        command=plain(source.command),
    )  # fmt: skip


def _sentence(text: str) -> str:
    """A line of the terminal as a sentence; one that is a sentence already, and may begin with an option, stays as it is."""
    return text if text.endswith(".") else f"{text[0].upper()}{text[1:]}."


def link_to(job: SweptJob, place: Path) -> str:
    """The address of a job's report, relative to the folder of the page; "" where it has none."""
    report = job.folder / REPORT if job.folder else None
    return quote(Path(os.path.relpath(report, place)).as_posix()) if report and report.exists() else ""


def _row_links(row: Row, links: Mapping[str, str]) -> list[tuple[str, str]]:
    """Text and address for each job of a row; those without a report lead to the table that says why."""
    jobs = [] if row.shared else row.group.jobs
    found = []
    for place, job in enumerate(jobs, start=1):
        name = "" if len(jobs) == 1 else f" {place}"
        found.append((f"report{name}", links[job.name]) if links[job.name] else (f"no report{name}", "#jobs"))
    return found


def _swept(source: Source) -> list[tuple[str, str]]:
    """Each swept key with its values, of many the first."""
    swept = []
    for key in source.keys:
        values = list(dict.fromkeys(plain(job.values.get(key, "")) for job in source.jobs))
        more = f" and {len(values) - MANY} more" if len(values) > MANY else ""
        swept.append((plain(key), ", ".join(values[:MANY]) + more))
    return swept


def parts_that_fit(table: Table) -> list[Table]:
    """The table in as many parts as it takes to fit the page, each with the names of the rows."""
    heads = [[row[place] for row in (table.columns, *table.rows)] for place in range(table.names)]
    left = WIDTH - sum(map(_signs, heads))
    parts: list[list[int]] = [[]]
    used = 0
    for place in range(table.names, len(table.columns)):
        signs = _signs([row[place] for row in (table.columns, *table.rows)])
        if parts[-1] and used + signs > left:
            parts.append([])
            used = 0
        parts[-1].append(place)
        used += signs

    def only(cells: Sequence[Any], part: Sequence[int]) -> list[Any]:
        return [*cells[: table.names], *(cells[place] for place in part)]

    return [
        Table(only(table.columns, part), [only(row, part) for row in table.rows], names=table.names,
              footer=[only(row, part) for row in table.footer])
        for part in parts
    ]  # fmt: skip


def _signs(cells: Sequence[str]) -> int:
    """Signs of the widest line of a column: titles and words break, intervals do not."""
    title, *values = cells
    lines = [
        *title.split(),
        *(part for cell in values for part in (cell.split(" ", 1) if " [" in cell else cell.split())),
    ]
    return 2 + max(max(map(len, lines), default=0), len(title) // 2)


def _point(point: Point) -> str:
    return f"{point.label or 'vanilla'} ({number(point.xy[0])}, {number(point.xy[1])})"


def _plot_in_words(plot: Plot) -> str:
    said = "; ".join(map(_point, plot.points[:40])) + (" and others" if len(plot.points) > 40 else "")
    return f"Plot of {plain(plot.quality)} (x) and {plain(plot.fairness)} (y): {said}."


def _jobs(source: Source) -> Table:
    """Each job: swept values, how far it came, its hash, and why it has no numbers or no report."""
    columns = [Column("job", [job.name for job in source.jobs])]
    for key, name in short_names(source.keys).items():
        columns.append(Column(plain(name), [plain(job.values.get(key, "")) for job in source.jobs]))
    hashes = [job.folder.name if job.folder else "" for job in source.jobs]
    columns.append(Column("state", [job.state for job in source.jobs]))
    columns += [Column("configuration", hashes)] if source.command else []  # else jobs are called after it
    columns.append(Column("report", [plain(job.why) or NO_REPORT for job in source.jobs]))
    return Table.of_columns(columns)
