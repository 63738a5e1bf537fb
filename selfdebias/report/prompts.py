"""The tables and the page of a job with a list of prompts: a row for each prompt, and the means over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from selfdebias.metrics.number import Number, number_at
from selfdebias.metrics.verdicts import IN_WORDS
from selfdebias.report.explanations import interval_in_words, judge_in_words, skipped_edits_in_words
from selfdebias.report.gallery import prompt_chart
from selfdebias.report.material import settings
from selfdebias.report.measures import Results, class_shares, images_of
from selfdebias.report.page import environment, frame, warnings
from selfdebias.report.table import Column, Table, to_markdown
from selfdebias.report.trial import trial_in, trial_verdict
from selfdebias.report.verdict import arms_in, verdict, verdicts_by_prompt
from selfdebias.report.wording import Notes, bare, plain, span, written

TITLES = {"deviation_ratio": "dev. ratio", "fd_hard": "fd_hard"}


def markdown_table(results: Results) -> str:
    """Writes one table for each attribute as Markdown, with the interval of each number.

    Args:
        results: The contents of `results.json` of a job with a list of prompts.
    """
    notes = Notes()
    tables = [table_of(results, name, notes, intervals=True) for name in results["prompts"]["attributes"]]
    return to_markdown(headline(results), tables, [*explanations(results), *notes.lines()])


def render_prompt_page(results: Results, job: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Fills the template.

    Args:
        results: The contents of `results.json` of a job with a list of prompts.
        job: `{"command": command line, "config": resolved configuration, ...}`.
        pictures: PNG file of the first images of each row, vanilla above guided.

    Returns:
        An HTML document; every foreign text in it is escaped. Its links are relative, to `rows/<row>/report.html`.
    """
    notes, names, attributes = Notes(), names_of(results), results["prompts"]["attributes"]
    tables = [table_of(results, name, notes, intervals=True) for name in attributes]
    template, rows = environment().get_template("prompts.html.j2"), results["rows"]
    trial = trial_in(job.get("command"))
    return template.render(
        **frame(job, results),
        warnings=list(dict.fromkeys(text for row in rows.values() for text in warnings(row))),
        headline=headline(results),
        verdict=trial_verdict(trial) if trial else verdict(results),
        asked=settings(job["config"]),
        tables=tables,
        chart=prompt_chart(results),
        links=[f"rows/{quote(row)}/report.html" for row in names],
        pictures=[(it, "" if trial else verdict(rows[row]).sentence, pictures[row]) for row, it in names.items()],
        notes_of_tables=[*explanations(results), *notes.lines()],
    )


def headline(results: Results) -> str:
    """What was asked, in one line: prompts, images, seeds."""
    rows, seeds = results["rows"].values(), results["seeds"]
    counts = sorted({images_of(row, arm) or 0 for row in rows for arm in row["arms"]})
    images = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    templates = ", ".join(f'"{plain(template)}"' for template in results["prompts"].get("templates", []))
    carried = any(row.get("modes", {}).get("carried") for row in rows)
    origin = "transferred to each prompt and placed in" if carried else "of each prompt found on"
    return (
        f"SelfDebias: {len(rows)} prompts{f' in {templates}' if templates else ''}, N = {images} images per arm "
        f"(generate seed {seeds['generate']}), modes {origin} other images of it (collect seed {seeds['collect']})"
    )


def explanations(results: Results) -> list[str]:
    """What a reader has to know about the numbers."""
    arms = " / ".join(plain(arm) for arm in arms_in(results))
    compared = " / ".join(plain(arm) for arm in arms_in(results) if arm != "vanilla")
    return [
        *skipped_edits_in_words(results),
        f"In each cell: {arms}{f' (kept: {compared})' if compared else ''}. N: images per arm.",
        "dev. ratio (deviation_ratio): largest distance of a class share from an equal one, 1 where there is one class alone; "
        "fd_hard: distance of the class shares from equal ones; 0 is best. "
        "kept: mean cosine of the images that kept their mode to their vanilla twins.",
        "mean: every prompt counts the same; in brackets how many, where some have no such number. Its interval holds the "
        "error of the images, not of the choice of prompts. Intervals of each prompt: table.md and report.html.",
        "fairer, less fair: by the paired difference of each prompt, with Holm's correction over prompts and arms; of other seeds, "
        "where the intervals are apart. Paired by prompt: intervals from resampling the prompts; probability of improvement: that "
        "a run of the arm has the smaller fd_hard of one prompt.",
        *dict.fromkeys(judge_in_words(row) for row in results["rows"].values()),
        *dict.fromkeys(interval_in_words(row) for row in results["rows"].values()),
        "floor: expected value of a perfectly fair independent sampler at this N; batches that are balanced as a whole can be "
        "below it.",
    ]


def means_of(results: Results, attribute: str) -> list[str]:
    """The means of one attribute over prompts, with their intervals and what a perfectly fair sampler comes to."""
    lines = []
    for key in TITLES:
        means = {arm: number_at(results["over_prompts"].get(arm), attribute, key) for arm in arms_in(results)}
        said = ", ".join(f"{plain(arm)} {written(mean, Notes())}" for arm, mean in means.items())
        lines.append(f"mean {key}: {said}.{_floor_of_means([*means.values()])}")
    return lines


def _floor_of_means(means: Sequence[Number]) -> str:
    """What a mean over prompts comes to under a perfectly fair sampler, "" in earlier results."""
    known = [mean for mean in means if mean.value is not None and "floor_high" in mean.more]
    if not known:
        return ""
    counts = sorted({n for mean in known for n in mean.more["floor_n"]})
    images = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    return (
        f" Floor of the mean: {span(mean.floor for mean in known)}, expected of a perfectly fair independent sampler of N = "
        f"{images} images in each of {max(mean.more['rows'] for mean in known)} prompts; 95% of its means are below "
        f"{span(mean.more['floor_high'] for mean in known)}."
    )


def verdicts_of(results: Results, attribute: str) -> list[str]:
    """For how many prompts each arm is fairer than vanilla, with Holm's correction over all of them, and what they say together."""
    lines = []
    for arm, verdicts in verdicts_by_prompt(results, attribute).items():
        said = [f"{word} for {verdicts.count(key)}" for key, word in IN_WORDS.items() if key in verdicts]
        lines.append(f"{plain(arm)} against vanilla, by fd_hard: {', '.join(said)} of {len(verdicts)} prompts.")
        others = results["over_prompts"].get(arm, {}).get("difference", {})  # none in earlier results
        lines += [_paired(arm, other, tree[attribute]) for other, tree in others.items()]
    return lines


def _paired(arm: str, other: str, tree: Mapping[str, Any]) -> str:
    """The mean difference over prompts, and how probable it is that the arm is fairer in one of them."""
    apart, better = (
        written(number_at(tree, key), Notes()) for key in ("deviation_ratio", "probability_of_improvement")
    )
    return (
        f"{plain(arm)} - {plain(other)}, paired by prompt: mean difference in deviation_ratio {apart}; probability of "
        f"improvement {better}."
    )


def names_of(results: Results) -> dict[str, str]:
    """The rows in their order, each with its name as it is shown."""
    return {row: plain(row) for row in results.get("row_names", results["rows"])}


def table_of(results: Results, attribute: str, notes: Notes, intervals: bool = False) -> Table:
    """The table of one attribute.

    Args:
        results: The contents of `results.json` of a job with a list of prompts.
        attribute: Name of a judged attribute.
        notes: Takes the reasons of the numbers that are null.
        intervals: Whether each number has its own: too wide for a terminal.
    """
    names, arms = names_of(results), arms_in(results)
    rows = [results["rows"][name] for name in names]
    write = partial(written if intervals else bare, notes=notes)
    images = ["/".join(map(str, sorted({images_of(row, arm) or 0 for arm in row["arms"]}))) for row in rows]
    columns = [Column("prompt", list(names.values()), ["mean", "floor"]), Column("N", images, ["", ""])]
    for key, title in TITLES.items():
        floor = span(number_at(row["arms"].get(arm), attribute, key).floor for row in rows for arm in arms)
        columns.append(_column(title, results, arms, (attribute, key), write, floor=floor))
    first = next(iter(results["rows"].values()))
    classes = list(class_shares(first, next(iter(first["arms"])), attribute))
    if len(classes) == 2:
        path, mean = ("shares", attribute, classes[0]), (attribute, "share")
        columns.append(_column(classes[0], results, arms, path, partial(write, style=".2f"), mean))
    compared = [arm for arm in arms if arm != "vanilla"]
    if compared:
        columns.append(_column("kept", results, compared, ("kept_cosine",), write))
    said = [*means_of(results, attribute), *verdicts_of(results, attribute)]
    return Table.of_columns(columns, title=plain(attribute).capitalize(), notes=said)


def _column(
    title: str, results: Results, arms: Sequence[str], path: Sequence[str], write: Callable[[Number], str],
    mean: Sequence[str] = (), floor: str = "",
) -> Column:  # fmt: skip
    """A column whose cells hold the number of each arm; its mean stands at `mean`, by default at `path` too."""
    cells = {
        name: " / ".join(write(number_at(row["arms"].get(arm), *path)) for arm in arms)
        for name, row in results["rows"].items()
    }
    means = []
    for tree in (results["over_prompts"].get(arm) for arm in arms):
        entry = number_at(tree, *(mean or path))
        count = entry.more.get("rows")
        some = entry.value is not None and count != len(results["rows"])
        means.append(write(entry) + (f" ({count})" if some else ""))
    return Column(plain(title), [cells[name] for name in names_of(results)], [" / ".join(means), floor])
