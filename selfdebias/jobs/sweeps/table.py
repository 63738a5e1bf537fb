"""The table of a sweep: on the terminal, as Markdown, for LaTeX, as CSV, and the pooled results, all from whatever has finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfdebias.config.rules import ConfigError
from selfdebias.jobs.sweeps import ending
from selfdebias.jobs.sweeps.columns import (
    Row,
    attributes_in,
    numbers_of,
    rows_of,
    shared_vanilla,
    short_names,
    table_of,
)
from selfdebias.jobs.sweeps.finished import Source, SweptJob, fairness_of, read_source
from selfdebias.jobs.sweeps.objectives import axes_of, best_of, direction, is_judged, unmeasured, values_of_job
from selfdebias.jobs.sweeps.pooling import Group, grouped, ones_of
from selfdebias.jobs.sweeps.record import DONE
from selfdebias.metrics import quality
from selfdebias.metrics.preservation import KEPT_COSINE
from selfdebias.report.explanations import judge_in_words
from selfdebias.report.measures import level_in_words, without_label
from selfdebias.report.table import Column, Table, to_csv, to_latex, to_markdown, to_text
from selfdebias.report.trial import trial_in, trial_verdict
from selfdebias.report.wording import AT_FLOOR, Notes, number, plain, prompt_of
from selfdebias.storage.atomic import write_bytes, write_json, write_text

TABLE, LATEX, CSV, RESULTS = "table.md", "table.tex", "table.csv", "results.json"
PLOT, PAGE = "pareto.png", "index.html"
OWN_VANILLA = "The jobs have vanilla arms of their own, each beside its job."


@dataclass(frozen=True)
class Sweep:
    """What there is to be shown of a sweep.

    Attributes:
        source: the jobs.
        groups: the jobs put together, with their numbers.
        rows: the table's.
        fairness: name of the measure that rows are held against vanilla by.
        plotted: names of the plot's measures, x and y: the objectives of a search, where it has two.
        pooled: keys in which the jobs of a row may differ.
    """

    source: Source
    groups: list[Group]
    rows: list[Row]
    fairness: str
    plotted: tuple[str, str]
    pooled: list[str]


def remake_table(settings: Mapping[str, Any]) -> None:
    """Makes the table of what has finished, as `stages=[table]` asks for.

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
    from selfdebias.jobs.sweeps.page import render_sweep_page  # here, since matplotlib and torch are slow to come
    from selfdebias.jobs.sweeps.pareto import Plot, points_of

    groups, place = grouped(source.jobs, settings["pool"]), source.place
    attributes = dict.fromkeys(name for group in groups if group.results for name in attributes_in(group.results))
    fairness = fairness_of(settings, list(attributes))
    x, y = axes_of(source.objectives) or (settings["quality"], fairness)
    sweep = Sweep(source, groups, rows_of(groups), fairness, (x, y), list(settings["pool"]))
    print(render_table(sweep))
    write_text(place / CSV, to_csv(numbers_of(groups)))
    write_json(place / RESULTS, {"command": source.command, "rows": [_record(group) for group in groups]})
    points = points_of(sweep.rows, x, y)
    plot = Plot.of(points, x, y) if points else None
    if plot:
        write_bytes(place / PLOT, plot.png)
        print(f"plot: {place / PLOT}")
    else:
        (place / PLOT).unlink(missing_ok=True)
        print(f"plot: none, since no job has both {x} and {y}")
    write_text(place / LATEX, to_latex(table_of(sweep.rows, sweep.fairness, Notes(), intervals=True)))
    write_text(place / TABLE, markdown_table(sweep))
    print(f"table: {place / TABLE}")
    notes = Notes()
    table = table_of(sweep.rows, fairness, notes, intervals=True)
    said = explanations(sweep, table, notes)
    tables = [table, *best_trials(source)]
    write_text(
        place / PAGE, render_sweep_page(source, headline(sweep), sweep.rows, tables, said, plot, verdicts(sweep))
    )
    print(f"page: {place / PAGE}")


def _record(group: Group) -> dict[str, Any]:
    missing, hashes = {job.name: job.why for job in group.jobs if job.why}, [it.name for it in group.folders]
    return {"values": group.values, "config_hashes": hashes, "results": group.results, "missing": missing}


def render_table(sweep: Sweep, width: int = 80) -> str:
    """Writes the end of a sweep as plain text; all columns and notes are in `table.md`. No line is longer than `width`."""
    notes, rows = Notes(), sweep.rows
    table = ending.shown_of(table_of(rows, sweep.fairness, notes, intervals=False), rows, sweep.fairness)
    told = ending.few(missing_in_words(sweep.source.jobs) + failed_trials(sweep.source))
    told += ending.pooled_in_words(sweep.groups, sweep.pooled)
    told += [] if shared_vanilla(sweep.groups) else [OWN_VANILLA]
    told += [*ending.marks_in_words(table, notes), *verdicts(sweep)]
    return to_text(headline(sweep), [table, *best_trials(sweep.source)], told, width)


def markdown_table(sweep: Sweep) -> str:
    """Writes the same as Markdown, each number with its interval."""
    notes = Notes()
    table = table_of(sweep.rows, sweep.fairness, notes, intervals=True)
    said = [*verdicts(sweep), *explanations(sweep, table, notes)]
    text = to_markdown(headline(sweep), [table, *best_trials(sweep.source)], said)
    plot = f"\n![{sweep.plotted[1]} against {sweep.plotted[0]}]({PLOT})\n"
    return text + (plot if (sweep.source.place / PLOT).exists() else "")


def verdicts(sweep: Sweep) -> list[str]:
    """How rows stand against vanilla, which is the best one, and what that does not show; a search has its best trials instead."""
    asked = sweep.rows, sweep.fairness
    if trial := trial_in(sweep.source.command):
        return [trial_verdict(trial).sentence]
    best = "" if sweep.source.objectives else ending.best_in_words(*asked)
    return [*ending.against_in_words(*asked), *([best] if best else []), *ending.beside_in_words(*asked)]


def best_trials(source: Source) -> list[Table]:
    """The table of a search's best trials: those that no other one beats in its objectives; none where there are no such."""
    names, jobs = source.objectives, [job for job in source.jobs if job.folder]
    jobs = [job for place, job in enumerate(jobs) if job.folder not in [it.folder for it in jobs[:place]]]  # none twice
    found = [values_of_job(job.folder, names) for job in jobs if job.folder] if names else []
    best = best_of(found, names)
    if not best:
        return []
    own = [jobs[place] for place in best]
    columns = [Column("trial", [job.name for job in own])]
    columns += [Column(name, [plain(job.values[key]) for job in own]) for key, name in short_names(source.keys).items()]
    columns += [Column(name, [number(found[place][at], ".4g") for place in best]) for at, name in enumerate(names)]
    better = {"minimize": "lower is better", "maximize": "higher is better"}
    said = " and ".join(f"{plain(name)} ({better[direction(name)]})" for name in names)
    notes = [f"Best trials: those that no other one beats in {said}, of {len(found)} jobs with numbers."]
    if judged := [plain(name) for name in names if is_judged(name)]:
        notes.append(
            f"settings chosen with labels: the judge, which was trained on labels, measures {', '.join(judged)}."
        )
    return [Table.of_columns(columns, title="Best trials", names=1, notes=notes)]


def headline(sweep: Sweep) -> str:
    """What was swept, in one line."""
    over = f" over {', '.join(short_names(sweep.source.keys).values())}" if sweep.source.keys else ""
    known = [group.results for group in sweep.groups if group.results is not None]
    prompts = dict.fromkeys(f"{len(it['rows'])} prompts" if "rows" in it else prompt_of(it) for it in known)
    jobs = len(sweep.source.jobs)
    return f"SelfDebias sweep: {jobs} job{'' if jobs == 1 else 's'}{over}; {', '.join(prompts)}"


def explanations(sweep: Sweep, table: Table, notes: Notes) -> list[str]:
    """What a reader has to know: who judged, intervals and floors, pooling, what is missing, and the jobs."""
    titles = table.columns[table.names :]
    known = [group.results for group in sweep.groups if group.results is not None]
    lines = missing_in_words(sweep.source.jobs) + failed_trials(sweep.source)
    lines += ending.pooled_in_words(sweep.groups, sweep.pooled)
    lines += dict.fromkeys(judge_in_words(one) for results in known for one in ones_of(results))
    levels = " / ".join(dict.fromkeys(map(level_in_words, known))) or "no"
    lines.append(f"[low, high]: {levels} intervals over batches. {AT_FLOOR_IN_WORDS}")
    lines.append(
        "fd_hard: distance of the class shares from equal ones; dev. ratio: the largest one, as a share of what it can be; 0 is "
        "best. floor: expected value of a perfectly fair independent sampler at this N."
    )
    others = {it.title: it.in_words for it in quality.METRICS if it.in_sweeps and it.title not in MEANINGS}
    lines += [text for title, text in (MEANINGS | others).items() if title in map(without_label, titles)]
    lines += ending.verdicts_explained(sweep.rows, sweep.fairness, titles)
    if not shared_vanilla(sweep.groups) and known:
        lines.append(OWN_VANILLA)
    behind = []
    for group in sweep.groups:
        hashes, values = ", ".join(it.name for it in group.folders), " ".join(map(plain, group.values.values()))
        behind += [f"{values}: {hashes}" if values else hashes] if hashes else []
    return [*lines, *notes.lines(), f"config hashes: {'; '.join(behind)}"]


AT_FLOOR_IN_WORDS = (
    f"At the floor, <= b: within sampling noise of a perfectly fair sampler, at most {AT_FLOOR} times the floor; "
    "not told from fair, <= b: a larger value whose interval contains a fair sampler; b is the upper bound."
)
MEANINGS = {
    "mode_fd": "mode_fd: the same of the modes, which each clustering finds for itself; with axes the mean over those that are "
    "balanced; table.csv has each.",
    "kept": f"kept: {KEPT_COSINE.meaning}",
    "precision of switched": "precision of switched: how well images that changed their mode fit among vanilla images of that "
    "mode; 1: as well as those do themselves.",
    "KID": "KID: of the features that each job compares images by, the encoder's unless metrics.features says others, against the "
    "reference of each job; a new mix of modes moves it by itself.",
}


def missing_in_words(jobs: Sequence[SweptJob]) -> list[str]:
    """The jobs that are not in the numbers, with the reason: a line for each."""
    lines = []
    for job in (job for job in jobs if job.why):
        swept = ", ".join(f"{name}={plain(job.values[key])}" for key, name in short_names(list(job.values)).items())
        lines.append(f"not in the numbers: {job.name}{f' ({swept})' if swept else ''}: {plain(job.why)}")
    return lines


def failed_trials(source: Source) -> list[str]:
    """The jobs of a search that do not measure what it is for: a line for each number."""
    found = [(job, unmeasured(job.folder, source.objectives)) for job in source.jobs if job.folder]
    return [f"a failed trial: {job.name}: {name} was not measured" for job, lacking in found for name in lacking]
