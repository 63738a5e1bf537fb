"""The table of a sweep: on the terminal, as Markdown, as CSV, and the pooled results, all from whatever has finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfdebias.config.rules import ConfigError
from selfdebias.jobs.sweeps.columns import AGAINST, Column, head_columns, number_columns, short_names
from selfdebias.jobs.sweeps.fairness import fairness_of
from selfdebias.jobs.sweeps.finished import Source, SweptJob, read_source
from selfdebias.jobs.sweeps.record import DONE
from selfdebias.jobs.sweeps.rows import Group, Row, attributes_in, grouped, rows_of, shared_vanilla
from selfdebias.jobs.sweeps.tidy import tidy_csv
from selfdebias.report.explanations import judge_in_words
from selfdebias.report.feature_words import without_label
from selfdebias.report.measures import INTERVAL
from selfdebias.report.packing import packed
from selfdebias.report.wording import AT_FLOOR, Notes, clip, escaped, plain, prompt_of, wrapped
from selfdebias.storage.atomic import write_bytes, write_json, write_text

TABLE, CSV, RESULTS, PLOT = "table.md", "table.csv", "results.json", "pareto.png"
WIDEST = 16  # terminal columns of a swept value


@dataclass(frozen=True)
class Table:
    """What there is to be shown of a sweep.

    Attributes:
        source: the jobs.
        groups: the jobs put together, with their numbers.
        rows: the table's.
        fairness: name of the measure that rows are held against vanilla by, and of the plot.
        quality: name of the plot's other measure.
        pooled: keys in which the jobs of a row may differ.
    """

    source: Source
    groups: list[Group]
    rows: list[Row]
    fairness: str
    quality: str
    pooled: list[str]


def remake_table(settings: Mapping[str, Any]) -> int:
    """Makes the table of what has finished, as `stages=[table]` asks for; returns the exit code, 0.

    Args:
        settings: The section `table` of the configuration.

    Raises:
        ConfigError: If `root` holds no jobs, or none with numbers, or a measure is unknown.
    """
    source = read_source(Path(settings["root"]))
    if not any(job.folder for job in source.jobs):
        said = "; ".join(f"{job.name}: {job.why}" for job in source.jobs[:3])
        more = f"; and {len(source.jobs) - 3} more" if len(source.jobs) > 3 else ""
        raise ConfigError(f"`table.root` {settings['root']} has no job with numbers: {said}{more}.")
    _write(source, settings)
    return 0


def write_table(folder: Path, settings: Mapping[str, Any]) -> int:
    """Makes the table of a sweep that has ended; returns its exit code: 0 where all jobs are done, else 1.

    Args:
        folder: The sweep's.
        settings: The section `table` of the configuration.
    """
    source = read_source(folder)
    if any(job.folder for job in source.jobs):
        _write(source, settings)
    else:
        print("\n".join(["no table: no job has numbers", *missing_in_words(source.jobs)]))
    return 0 if all(job.state == DONE for job in source.jobs) else 1


def _write(source: Source, settings: Mapping[str, Any]) -> None:
    from selfdebias.jobs.sweeps.pareto import DPI, points_of, tradeoff_figure

    table = _make(source, settings)
    print(render_table(table))
    place = source.place
    write_text(place / CSV, tidy_csv(table.rows))
    write_json(place / RESULTS, {"command": source.command, "rows": [_record(group) for group in table.groups]})
    points = points_of(table.rows, table.quality, table.fairness)
    if points:
        from selfdebias.report.figures import to_png

        write_bytes(place / PLOT, to_png(tradeoff_figure(points, table.quality, table.fairness), DPI))
        print(f"plot: {place / PLOT}")
    else:
        (place / PLOT).unlink(missing_ok=True)
        print(f"plot: none, since no job has both {table.quality} and {table.fairness}")
    write_text(place / TABLE, markdown_table(table))
    print(f"table: {place / TABLE}")


def _make(source: Source, settings: Mapping[str, Any]) -> Table:
    groups = grouped(source.jobs, settings["pool"])
    known = [group.results for group in groups if group.results is not None]
    attributes = dict.fromkeys(name for results in known for name in attributes_in(results))
    fairness = fairness_of(settings, list(attributes))
    return Table(source, groups, rows_of(groups), fairness, settings["quality"], list(settings["pool"]))


def _record(group: Group) -> dict[str, Any]:
    jobs = [job.folder.name for job in group.measured if job.folder]
    why = {job.name: job.why for job in group.jobs if job.why}
    return {"values": group.values, "config_hashes": jobs, "results": group.results, "missing": why}


def render_table(table: Table, width: int = 80) -> str:
    """Writes the table as plain text, readable in a terminal and in a log.

    Args:
        table: What is to be shown.
        width: Terminal columns, at least 40; no line is longer.
    """
    notes = Notes()
    heads = [[clip(cell, WIDEST) for cell in _cells(column)] for column in head_columns(table.rows)]
    numbers = number_columns(table.rows, table.fairness, notes, intervals=False)
    heads = [[*cells, "floor" if place == 0 else ""] for place, cells in enumerate(heads)]
    lines = ["=" * width, *wrapped(headline(table), width), "-" * width]
    lines += packed(heads, [[*_cells(column), column.floor] for column in numbers], width)
    lines.append("-" * width)
    stars = any(cell.endswith(("*", "?")) for column in numbers for cell in column.cells)
    for note in explanations(table, numbers, stars, notes):
        lines += wrapped(note, width)
    return "\n".join([*lines, "=" * width])


def markdown_table(table: Table) -> str:
    """Writes the same as Markdown, each number with its interval."""
    notes = Notes()
    numbers = number_columns(table.rows, table.fairness, notes, intervals=True)
    columns = [*head_columns(table.rows), *numbers]
    grid = [_cells(column) for column in columns]
    floors = [column.floor for column in columns]
    lines = [[cells[place] for cells in grid] for place in range(len(table.rows) + 1)]
    lines += [["floor", *floors[1:]]] if any(floors) else []
    written = ["| " + " | ".join(escaped(cell) for cell in line) + " |" for line in lines]
    below = [f"- {escaped(note)}" for note in explanations(table, numbers, False, notes)]
    rule = "|" + " --- |" * len(columns)
    plot = f"\n\n![{table.fairness} against {table.quality}]({PLOT})" if (table.source.place / PLOT).exists() else ""
    head = f"**{escaped(headline(table))}**"
    return "\n\n".join([head, "\n".join([written[0], rule, *written[1:]]), "\n".join(below)]) + plot + "\n"


def headline(table: Table) -> str:
    """What was swept, in one line."""
    names = short_names(table.source.keys).values()
    over = f" over {', '.join(names)}" if names else ""
    known = [group.results for group in table.groups if group.results is not None]
    prompts = dict.fromkeys(_prompt_of(results) for results in known)
    jobs = len(table.source.jobs)
    return f"SelfDebias sweep: {jobs} job{'' if jobs == 1 else 's'}{over}; {', '.join(prompts)}"


def explanations(table: Table, shown: Sequence[Column], stars: bool, notes: Notes) -> list[str]:
    """What a reader has to know: who judged, intervals and floors, pooling, what is missing, and the jobs."""
    titles = {column.title for column in shown}
    known = [group.results for group in table.groups if group.results is not None]
    ones = [row for results in known for row in (results["rows"].values() if "rows" in results else [results])]
    lines = missing_in_words(table.source.jobs)
    if any(len(group.measured) > 1 for group in table.groups):
        lines.append(f"Jobs that differ in {', '.join(table.pooled)} alone are pooled: one row of all their images.")
    lines += dict.fromkeys(judge_in_words(one) for one in ones)
    lines.append(_about_intervals(stars))
    lines.append(
        "fd_hard: distance of the class shares from equal ones; dev. ratio: the largest one, as a share of what it can be; 0 is "
        "best. floor: expected value of a perfectly fair independent sampler at this N."
    )
    lines += [text for title, text in MEANINGS.items() if title in map(without_label, titles)]
    if any(not row.is_baseline for row in table.rows if row.group.results is not None):
        untold = "an empty cell" if AGAINST in titles else "which is so for all jobs here"
        lines.append(
            f"By {table.fairness}, jobs whose interval overlaps vanilla's are not told apart from it: {untold}."
        )
    if not shared_vanilla(table.groups) and known:
        lines.append("The jobs have vanilla arms of their own, each beside its job.")
    return [*lines, *notes.lines(), *_hashes(table.groups)]


MEANINGS = {
    "mode_fd": "mode_fd: the same of the modes, which each clustering finds for itself.",
    "kept": "kept: cosine of each image to its vanilla twin from the same seed; 1: the same image.",
    "turned precision": "turned precision: how well images that changed their mode fit among vanilla images of that mode; 1: as "
    "well as those do themselves.",
    "KID": "KID: of the features that each job compares images by, the encoder's unless metrics.features says others, against the "
    "reference of each job; a new mix of modes moves it by itself.",
}


def missing_in_words(jobs: Sequence[SweptJob]) -> list[str]:
    """The jobs that are not in the numbers, with the reason: a line for each."""
    return [f"not in the numbers: {job.name}{_named(job)}: {plain(job.why)}" for job in jobs if job.why]


def _named(job: SweptJob) -> str:
    names = short_names(list(job.values))
    return f" ({', '.join(f'{names[key]}={plain(value)}' for key, value in job.values.items())})" if job.values else ""


def _about_intervals(stars: bool) -> str:
    if stars:
        return (
            f"*: at the floor, not told from a perfectly fair sampler; ?: far above the floor, but its interval is so wide that "
            f"it is not told from one either. {TABLE} has all intervals ({INTERVAL})."
        )
    return (
        f"[low, high]: {INTERVAL}. At the floor, <= b: not told from a perfectly fair sampler, and at most {AT_FLOOR} times the "
        "floor; not told from fair, <= b: the same of a larger value; b is the upper bound."
    )


def _hashes(groups: Sequence[Group]) -> list[str]:
    """The folders of the jobs behind each row."""
    lines = []
    for group in groups:
        hashes = [job.folder.name for job in group.measured if job.folder]
        if hashes:
            values = " ".join(map(plain, group.values.values()))
            lines.append(f"{values}: {', '.join(hashes)}" if values else ", ".join(hashes))
    return [f"config hashes: {'; '.join(lines)}"] if lines else []


def _cells(column: Column) -> list[str]:
    return [column.title, *column.cells]


def _prompt_of(results: Mapping[str, Any]) -> str:
    return f"{len(results['rows'])} prompts" if "rows" in results else prompt_of(results)
