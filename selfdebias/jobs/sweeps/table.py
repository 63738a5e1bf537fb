"""The table of a sweep: on the terminal, as Markdown, as CSV, and the pooled results, all from whatever has finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfdebias.config.rules import ConfigError
from selfdebias.jobs.sweeps.columns import AGAINST, short_names, table_of
from selfdebias.jobs.sweeps.fairness import fairness_of
from selfdebias.jobs.sweeps.finished import Source, SweptJob, read_source
from selfdebias.jobs.sweeps.record import DONE
from selfdebias.jobs.sweeps.rows import Group, Row, arms_in, attributes_in, grouped, rows_of, shared_vanilla
from selfdebias.report.explanations import judge_in_words
from selfdebias.report.feature_words import without_label
from selfdebias.report.measures import INTERVAL, finite
from selfdebias.report.table import Table, to_csv, to_markdown, to_text
from selfdebias.report.wording import AT_FLOOR, Notes, plain, prompt_of
from selfdebias.storage.atomic import write_bytes, write_json, write_text

FACTS = ("value", "low", "high", "floor", "n")
LEFT_OUT = ("by_run",)  # lists by job, which the pooled numbers hold
TABLE, CSV, RESULTS, PLOT = "table.md", "table.csv", "results.json", "pareto.png"


@dataclass(frozen=True)
class Sweep:
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

    sweep = _make(source, settings)
    print(render_table(sweep))
    place = source.place
    write_text(place / CSV, to_csv(numbers_of(sweep.rows)))
    write_json(place / RESULTS, {"command": source.command, "rows": [_record(group) for group in sweep.groups]})
    points = points_of(sweep.rows, sweep.quality, sweep.fairness)
    if points:
        from selfdebias.report.figures import to_png

        write_bytes(place / PLOT, to_png(tradeoff_figure(points, sweep.quality, sweep.fairness), DPI))
        print(f"plot: {place / PLOT}")
    else:
        (place / PLOT).unlink(missing_ok=True)
        print(f"plot: none, since no job has both {sweep.quality} and {sweep.fairness}")
    write_text(place / TABLE, markdown_table(sweep))
    print(f"table: {place / TABLE}")


def _make(source: Source, settings: Mapping[str, Any]) -> Sweep:
    groups = grouped(source.jobs, settings["pool"])
    known = [group.results for group in groups if group.results is not None]
    attributes = dict.fromkeys(name for results in known for name in attributes_in(results))
    fairness = fairness_of(settings, list(attributes))
    return Sweep(source, groups, rows_of(groups), fairness, settings["quality"], list(settings["pool"]))


def _record(group: Group) -> dict[str, Any]:
    why = {job.name: job.why for job in group.jobs if job.why}
    return {"values": group.values, "config_hashes": group.hashes, "results": group.results, "missing": why}


def render_table(sweep: Sweep, width: int = 80) -> str:
    """Writes the table as plain text, readable in a terminal and in a log.

    Args:
        sweep: What is to be shown.
        width: Terminal columns, at least 40; no line is longer.
    """
    notes = Notes()
    table = table_of(sweep.rows, sweep.fairness, notes, intervals=False)
    return to_text(headline(sweep), [table], explanations(sweep, table, notes), width)


def markdown_table(sweep: Sweep) -> str:
    """Writes the same as Markdown, each number with its interval."""
    notes = Notes()
    table = table_of(sweep.rows, sweep.fairness, notes, intervals=True)
    text = to_markdown(headline(sweep), [table], explanations(sweep, table, notes))
    plot = f"\n![{sweep.fairness} against {sweep.quality}]({PLOT})\n"
    return text + (plot if (sweep.source.place / PLOT).exists() else "")


def headline(sweep: Sweep) -> str:
    """What was swept, in one line."""
    names = short_names(sweep.source.keys).values()
    over = f" over {', '.join(names)}" if names else ""
    known = [group.results for group in sweep.groups if group.results is not None]
    prompts = dict.fromkeys(_prompt_of(results) for results in known)
    jobs = len(sweep.source.jobs)
    return f"SelfDebias sweep: {jobs} job{'' if jobs == 1 else 's'}{over}; {', '.join(prompts)}"


def explanations(sweep: Sweep, table: Table, notes: Notes) -> list[str]:
    """What a reader has to know: who judged, intervals and floors, pooling, what is missing, and the jobs."""
    titles = table.columns[table.names :]
    marked = any(cell.endswith(("*", "?")) for row in table.rows for cell in row[table.names :])
    known = [group.results for group in sweep.groups if group.results is not None]
    ones = [row for results in known for row in (results["rows"].values() if "rows" in results else [results])]
    lines = missing_in_words(sweep.source.jobs)
    if any(len(group.measured) > 1 for group in sweep.groups):
        lines.append(f"Jobs that differ in {', '.join(sweep.pooled)} alone are pooled: one row of all their images.")
    lines += dict.fromkeys(judge_in_words(one) for one in ones)
    lines.append(_about_intervals(marked))
    lines.append(
        "fd_hard: distance of the class shares from equal ones; dev. ratio: the largest one, as a share of what it can be; 0 is "
        "best. floor: expected value of a perfectly fair independent sampler at this N."
    )
    lines += [text for title, text in MEANINGS.items() if title in map(without_label, titles)]
    if any(not row.is_baseline for row in sweep.rows if row.group.results is not None):
        untold = "an empty cell" if AGAINST in titles else "which is so for all jobs here"
        lines.append(
            f"By {sweep.fairness}, jobs whose interval overlaps vanilla's are not told apart from it: {untold}."
        )
    if not shared_vanilla(sweep.groups) and known:
        lines.append("The jobs have vanilla arms of their own, each beside its job.")
    return [*lines, *notes.lines(), *_hashes(sweep.groups)]


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


def _about_intervals(marked: bool) -> str:
    if marked:
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
        if group.hashes:
            values = " ".join(map(plain, group.values.values()))
            lines.append(f"{values}: {', '.join(group.hashes)}" if values else ", ".join(group.hashes))
    return [f"config hashes: {'; '.join(lines)}"] if lines else []


def _prompt_of(results: Mapping[str, Any]) -> str:
    return f"{len(results['rows'])} prompts" if "rows" in results else prompt_of(results)


def numbers_of(rows: Sequence[Row]) -> Table:
    """All numbers of all arms, for CSV.

    Columns: the swept keys; `jobs`, the config hashes; `prompt`, the name of the prompt where a job has several, "" for the
    mean over them; `arm`; `metric`, its place in results.json, as in `results.csv`; `value`, `low` and `high` of the 95%
    interval, `floor`, `n`. A number that there is not is None.

    Args:
        rows: Rows of the table.
    """
    groups = list({id(row.group): row.group for row in rows if row.group.results is not None}.values())
    keys = list(dict.fromkeys(key for group in groups for key in group.values))
    lines = []
    for group in groups:
        own = [*(group.values.get(key, "") for key in keys), " ".join(group.hashes)]
        for prompt, arm, metric, entry in _entries(group):
            numbers = [entry.get(fact) if finite(entry.get(fact)) is not None else None for fact in FACTS]
            lines.append([*own, prompt, arm, metric, *numbers])
    return Table([*keys, "jobs", "prompt", "arm", "metric", *FACTS], lines)


def entries_in(tree: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (path, entry) of each number of an arm, in the order of their paths.

    Example:
        >>> list(entries_in({"gender": {"fd_hard": {"value": 0.1, "n": 8}}, "kid": {"value": None}}))
        [('gender/fd_hard', {'value': 0.1, 'n': 8}), ('kid', {'value': None})]
    """
    if not isinstance(tree, Mapping):
        return
    if "value" in tree:
        yield path, tree
    for key in sorted(tree):
        if key not in LEFT_OUT:
            yield from entries_in(tree[key], f"{path}/{key}" if path else key)


def _entries(group: Group) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    results = group.results or {}
    several = "rows" in results
    for arm in arms_in(results):
        for metric, entry in entries_in(results["over_prompts"].get(arm) if several else results["arms"].get(arm)):
            yield "", arm, metric, entry
    for prompt, one in results["rows"].items() if several else ():
        for arm, tree in one["arms"].items():
            for metric, entry in entries_in(tree):
                yield prompt, arm, metric, entry
