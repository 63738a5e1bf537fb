"""The table of a job with a row for each prompt: for the terminal and its logs, and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfdebias.metrics.verdict import FAIRER, LESS_FAIR, NOT_TOLD_APART
from selfdebias.report.explanations import interval_in_words, judge_in_words, skipped_edits_in_words
from selfdebias.report.measures import Measure, arms_of, class_shares, images_of, measure
from selfdebias.report.packing import packed
from selfdebias.report.wording import Notes, clip, escaped, number, plain, wrapped, written

Results = Mapping[str, Any]
LONGEST_NAME = 24  # terminal columns of a prompt's name
TITLES = {"deviation_ratio": "dev. ratio", "fd_hard": "fd_hard"}


@dataclass(frozen=True)
class Column:
    """One column: a title, one cell for each row, the mean over rows, and the floor that the numbers are held against."""

    title: str
    cells: dict[str, str]
    mean: str = ""
    floor: str = ""


def render_table(results: Results, width: int = 80) -> str:
    """Writes the table of the first attribute as plain text, readable in a terminal and in a log.

    Args:
        results: The contents of `results.json` of a job with rows.
        width: Terminal columns, at least 40; no line is longer and the rules are exactly as long.

    Returns:
        The table, without a newline at its end.

    Raises:
        ValueError: If `width` is below 40.
    """
    if width < 40:
        raise ValueError(f"`width` must be at least 40, got {width}.")
    notes, attribute = Notes(), results["prompts"]["attributes"][0]
    lines = ["=" * width, *wrapped(headline(results), width), "-" * width, clip(plain(attribute).upper(), width)]
    lines += _blocks(columns(results, attribute, notes), names_of(results), width)
    lines.append("-" * width)
    said = [*means_of(results, attribute), *verdicts_of(results, attribute)]
    for note in [*said, *explanations(results), *notes.lines()]:
        lines += wrapped(note, width)
    return "\n".join([*lines, "=" * width])


def markdown_table(results: Results) -> str:
    """Writes the same as Markdown, with one table for each attribute."""
    notes, parts = Notes(), [f"**{escaped(headline(results))}**"]
    for attribute in results["prompts"]["attributes"]:
        shown = columns(results, attribute, notes, intervals=True)
        lines = ["| " + " | ".join(escaped(cell) for cell in row) + " |" for row in table_rows(results, shown)]
        rule = "|" + " --- |" * (1 + len(shown))
        parts.append("\n".join([f"### {escaped(plain(attribute)).capitalize()}\n", lines[0], rule, *lines[1:]]))
        said = [*means_of(results, attribute), *verdicts_of(results, attribute)]
        parts.append("\n".join(f"- {escaped(note)}" for note in said))
    parts.append("\n".join(f"- {escaped(note)}" for note in [*explanations(results), *notes.lines()]))
    return "\n\n".join(parts) + "\n"


def headline(results: Results) -> str:
    """What was asked, in one line: prompts, images, seeds."""
    rows, seeds = results["rows"].values(), results["seeds"]
    counts = sorted({images_of(row, arm) or 0 for row in rows for arm in row["arms"]})
    images = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    templates = ", ".join(f'"{plain(template)}"' for template in results["prompts"].get("templates", []))
    return (
        f"SelfDebias: {len(rows)} prompts{f' in {templates}' if templates else ''}, N = {images} images an arm "
        f"(generate seed {seeds['generate']}), modes of each prompt found on other images of it (collect seed "
        f"{seeds['collect']})"
    )


def explanations(results: Results) -> list[str]:
    """What a reader has to know about the numbers."""
    arms = " / ".join(plain(arm) for arm in arms_in(results))
    compared = " / ".join(plain(arm) for arm in arms_in(results) if arm != "vanilla")
    return [
        *skipped_edits_in_words(results),
        f"In each cell: {arms}{f' (kept: {compared})' if compared else ''}. N: images an arm.",
        "dev. ratio (deviation_ratio): largest distance of a class share from an equal one, 1 where there is one class alone; "
        "fd_hard: distance of the class shares from equal ones; 0 is best. kept: cosine to the vanilla twin from the same seed.",
        "mean: every prompt counts the same; in brackets how many, where some have no such number. Its 95% interval holds the "
        "error of the images, not of the choice of prompts. Intervals of each prompt: table.md and report.html.",
        *dict.fromkeys(judge_in_words(row) for row in results["rows"].values()),
        *dict.fromkeys(interval_in_words(row) for row in results["rows"].values()),
        "floor: expected value of a perfectly fair independent sampler at this N; batches that are balanced as a whole can be "
        "below it.",
    ]


def means_of(results: Results, attribute: str) -> list[str]:
    """The means of one attribute over prompts, with their intervals."""
    arms, means = arms_in(results), results["over_prompts"]
    lines = []
    for key in TITLES:
        said = [f"{plain(arm)} {written(measure(means.get(arm), attribute, key), Notes())}" for arm in arms]
        lines.append(
            f"mean {key}: {', '.join(said)}.{_floor_of_means([_entry(means.get(arm), (attribute, key)) for arm in arms])}"
        )
    return lines


def _floor_of_means(entries: Sequence[Mapping[str, Any]]) -> str:
    """What a mean over prompts comes to under a perfectly fair sampler, "" in results of before."""
    known = [it for it in entries if it.get("value") is not None and "floor_high" in it]
    if not known:
        return ""
    floors, highs = (_range([it[key] for it in known]) for key in ("floor", "floor_high"))
    counts = sorted({n for it in known for n in it["floor_n"]})
    images = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    return (
        f" Floor of the mean: {floors}, expected of a perfectly fair independent sampler of N = {images} images in each of "
        f"{max(it['rows'] for it in known)} prompts; 95% of its means are below {highs}."
    )


def verdicts_of(results: Results, attribute: str) -> list[str]:
    """For how many prompts each arm is fairer than vanilla, and for how many that cannot be told."""
    lines = []
    for arm in [arm for arm in arms_in(results) if arm != "vanilla"]:
        verdicts = [(row.get("verdicts") or {}).get(arm, {}).get(attribute) for row in results["rows"].values()]
        words = {FAIRER: FAIRER, LESS_FAIR: LESS_FAIR, NOT_TOLD_APART: NOT_TOLD_APART, None: "cannot be told"}
        said = [f"{word} for {verdicts.count(key)}" for key, word in words.items() if key in verdicts]
        lines.append(f"{plain(arm)} against vanilla, by fd_hard: {', '.join(said)} of {len(verdicts)} prompts.")
    return lines


def names_of(results: Results) -> dict[str, str]:
    """The rows in their order, each with its name as it is shown."""
    return {row: plain(row) for row in results.get("row_names", results["rows"])}


def arms_in(results: Results) -> list[str]:
    """Arms of all rows: vanilla first, then guided, then the others."""
    return arms_of({"arms": {arm: {} for row in results["rows"].values() for arm in row["arms"]}})


def columns(results: Results, attribute: str, notes: Notes, intervals: bool = False) -> list[Column]:
    """The columns of one attribute; `notes` takes the reasons of the numbers that are null.

    With `intervals`, each number has its own: too wide for a terminal.
    """
    rows, arms = results["rows"], arms_in(results)
    found = [Column("N", {name: _images(row) for name, row in rows.items()})]
    for key, title in TITLES.items():
        floors = [measure(row["arms"].get(arm), attribute, key).floor for row in rows.values() for arm in arms]
        path = (attribute, key)
        found.append(_column(title, results, notes, arms, path, path, floor=_range(floors), intervals=intervals))
    first = next(iter(rows.values()))
    classes = list(class_shares(first, next(iter(first["arms"])), attribute))
    if len(classes) == 2:
        paths = ("shares", attribute, classes[0]), (attribute, "share")
        found.append(_column(classes[0], results, notes, arms, *paths, style=".2f", intervals=intervals))
    compared = [arm for arm in arms if arm != "vanilla"]
    if compared:
        found.append(_column("kept", results, notes, compared, ("kept_cosine",), ("kept_cosine",), intervals=intervals))
    return found


def table_rows(results: Results, shown: Sequence[Column]) -> list[list[str]]:
    """All rows of the table, the titles first, then the prompts, the mean and, where there is one, the floor."""
    rows = [["prompt", *(column.title for column in shown)]]
    rows += [[name, *(column.cells[row] for column in shown)] for row, name in names_of(results).items()]
    rows.append(["mean", *(column.mean for column in shown)])
    floors = [column.floor for column in shown]
    return [*rows, ["floor", *floors]] if any(floors) else rows


def _column(
    title: str, results: Results, notes: Notes, arms: Sequence[str], path: tuple[str, ...], mean: tuple[str, ...],
    style: str = ".3f", floor: str = "", intervals: bool = False,
) -> Column:  # fmt: skip
    """A column whose cells hold the number of each arm."""

    def cell(tree: Mapping[str, Any], where: tuple[str, ...], write: Callable[[Measure, Any], str]) -> str:
        return " / ".join(write(measure(tree.get(arm), *where), _entry(tree.get(arm), where)) for arm in arms)

    def bare(entry: Measure, _: Any) -> str:
        return written(entry if intervals else Measure(entry.value, reason=entry.reason), notes, style)

    def counted(entry: Measure, stated: Any) -> str:
        count = stated.get("rows")
        return bare(entry, stated) + (
            f" ({count})" if entry.value is not None and count != len(results["rows"]) else ""
        )

    cells = {name: cell(row["arms"], path, bare) for name, row in results["rows"].items()}
    return Column(plain(title), cells, cell(results["over_prompts"], mean, counted), floor)


def _entry(tree: Any, path: Sequence[str]) -> Mapping[str, Any]:
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}


def _images(row: Results) -> str:
    return "/".join(str(count) for count in sorted({images_of(row, arm) or 0 for arm in row["arms"]}))


def _range(floors: Sequence[float | None]) -> str:
    texts = sorted({number(floor) for floor in floors if floor is not None})
    return " to ".join(dict.fromkeys([texts[0], texts[-1]])) if texts else ""


def _blocks(shown: list[Column], names: Mapping[str, str], width: int) -> list[str]:
    head = ["prompt", *(clip(name, LONGEST_NAME) for name in names.values()), "mean", "floor"]
    cells = [[column.title, *(column.cells[row] for row in names), column.mean, column.floor] for column in shown]
    return packed([head], cells, width)
