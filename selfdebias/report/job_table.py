"""The tables of a finished job: fairness, quality, preservation and cost of each arm, for Markdown and the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from selfdebias.metrics import quality
from selfdebias.metrics.number import Number, number_at
from selfdebias.metrics.preservation import KEPT_COSINE, PRECISION_OF_SWITCHED
from selfdebias.report.comparisons import grids
from selfdebias.report.explanations import explanations
from selfdebias.report.measures import (
    Results,
    arms_of,
    attributes_of,
    class_shares,
    clip_score,
    images_of,
    key_of,
    over_vanilla,
    title_of,
)
from selfdebias.report.table import Column, Table, to_markdown
from selfdebias.report.wording import Notes, bare, clip, counted, plain, prompt_of, span, written

Read = Callable[[str, Notes], str]  # the cell of an arm
MOST = 10  # files that could not be read, by name


class Asked(NamedTuple):
    """A column that is asked for: its title, what reads the cell of an arm, and the cell of the floor."""

    title: str
    read: Read
    floor: str = ""


def markdown_table(results: Results) -> str:
    """Writes the final tables as Markdown, with the footnotes under them.

    Args:
        results: The contents of `results.json`.
    """
    tables, notes = tables_of(results)
    return to_markdown(headline(results), tables, [*notes, *map(str.strip, skipped_in_words(results))])


def tables_of(results: Results) -> tuple[list[Table], list[str]]:
    """All tables of a job, and what a reader has to know about them.

    Args:
        results: The contents of `results.json`.
    """
    notes = Notes()
    tables, extra = sections(results, notes), grids(results, notes)
    return [*tables, *extra], [*explanations(results, shown_in(tables, extra)), *notes.lines()]


def shown_in(tables: Sequence[Table], extra: Sequence[Table]) -> set[str]:
    """Titles of all columns of the sections, and of the tables beside them."""
    return {title for table in tables for title in table.columns} | {table.title for table in extra}


def headline(results: Results) -> str:
    """What was asked, in one line: prompt, images, seeds, modes; or which folders were evaluated."""
    if "sources" in results:
        sizes = {plain(arm): results["sources"][arm]["images"] for arm in arms_of(results)}
        folders = ", ".join(f"{arm} ({n} {'image' if n == 1 else 'images'})" for arm, n in sizes.items())
        return f"SelfDebias: evaluation of the {'folder' if len(sizes) == 1 else 'folders'} {folders}"
    counts = {images_of(results, arm) for arm in arms_of(results)} - {None}
    images = "/".join(str(count) for count in sorted(counts, key=str)) or "an unknown number of"
    seeds, modes = results.get("seeds", {}), results.get("modes", {})
    axes, k = len(modes.get("axes", [])), modes.get("k", "?")
    found = f"{axes} {'axis' if axes == 1 else 'axes'}" if axes else f"{k} mode{'' if k == 1 else 's'}"
    collected = sum(modes.get("sizes", [])) // max(1, axes)  # each image is on one side of every axis
    how = "transferred from other prompts and placed in" if modes.get("carried") else "found on"
    return (
        f"SelfDebias: {prompt_of(results)}, N = {images} images per arm "
        f"(generate seed {seeds.get('generate', '?')}), {found} {how} "
        f"{collected} other images (collect seed {seeds.get('collect', '?')})"
    )


def skipped_in_words(results: Results, most: int = MOST) -> list[str]:
    """Says how many files of each folder were skipped, and names the first ones with their reasons, in lines of 80 columns.

    Args:
        results: The contents of `results.json`.
        most: Files that are named.

    Returns:
        The lines; none where nothing was skipped.

    Example:
        >>> files = [{"file": "a.png", "reason": "the file is empty"}, {"file": "b.png", "reason": "no image"}]
        >>> skipped = {"peer": {"n": 2, "files": files}, "vanilla": {"n": 0, "files": []}}
        >>> print(*skipped_in_words({"skipped": skipped}), sep="\\n")
        skipped 2 files that cannot be read (peer 2):
          peer: a.png: the file is empty
          peer: b.png: no image
    """
    skipped = {arm: entry for arm, entry in results.get("skipped", {}).items() if entry["n"]}
    files = [f"{arm}: {it['file']}: {it['reason']}" for arm, entry in skipped.items() for it in entry["files"]]
    if not files:
        return []
    counts = ", ".join(f"{arm} {entry['n']}" for arm, entry in skipped.items())
    lines = [f"skipped {len(files)} {'file' if len(files) == 1 else 'files'} that cannot be read ({counts}):"]
    lines += ["  " + plain(line) for line in files[:most]]
    if len(files) > most:
        lines.append(f"  and {len(files) - most} more, in results.json under `skipped`")
    return [clip(line, 80) for line in lines]


def sections(results: Results, notes: Notes) -> list[Table]:
    """The tables with a row for each arm: fairness, quality, preservation and cost.

    Args:
        results: The contents of `results.json`.
        notes: Takes the reasons of the numbers that are null, and the titles of the columns that no arm has a number of.
    """
    found = {
        "Fairness": [*_distances(results), *_shares(results)],
        "Quality": _quality(results),
        "Preservation and cost": [*_preservation(results), *_cost(results)],
    }
    arms, tables = arms_of(results), []
    for title, asked in found.items():
        columns = [column for one in asked if (column := _column(one, arms, notes))]
        names = Column("arm", [plain(arm) for arm in arms], ["floor"])
        tables += [Table.of_columns([names, *columns], title=title, name_width=16)] if columns else []
    return tables


def _column(asked: Asked, arms: Sequence[str], notes: Notes) -> Column | None:
    """None where no arm has a number of it: its title then goes to the footnote of the last arm's reason."""
    trial = Notes()
    cells = [asked.read(arm, trial) for arm in arms]
    if all(re.fullmatch(r"n/a \[\d+\]", cell) for cell in cells):
        notes.leave_out(plain(asked.title), trial.reasons[int(cells[-1].strip("n/a []")) - 1])
        return None
    return Column(plain(asked.title), [asked.read(arm, notes) for arm in arms], [asked.floor])


def _read(results: Results, *path: str, style: str = ".3f", floor: bool = False) -> Read:
    return lambda arm, notes: written(number_at(results["arms"][arm], *path), notes, style, floor)


def _distances(results: Results) -> list[Asked]:
    """Distances of shares, each with its floor; a range where arms differ in it (they may differ in classified images)."""
    paths = {f"{name} fd_hard": (name, "fd_hard") for name in attributes_of(results)} | {"mode_fd": ("mode_fd",)}
    floors = {
        title: span(number_at(it, *path).floor for it in results["arms"].values()) for title, path in paths.items()
    }
    return [Asked(title, _read(results, *path), floors[title]) for title, path in paths.items()]


def _shares(results: Results) -> list[Asked]:
    arms = results["arms"]

    def pair(attribute: str) -> Read:
        return lambda arm, own: " / ".join(
            bare(it, own, ".2f") for it in class_shares(results, arm, attribute).values()
        )

    def unclassified(arm: str, own: Notes) -> str:
        return " / ".join(bare(number_at(arms[arm], "unclassified", name), own) for name in attributes_of(results))

    columns = [Asked("N", lambda arm, _: str(images_of(results, arm) or "?"))]
    for attribute in attributes_of(results):
        classes = list(class_shares(results, arms_of(results)[0], attribute))
        if len(classes) == 2:
            columns.append(Asked(" / ".join(classes), pair(attribute)))
            path = ("corrected", attribute, classes[0])  # by the judge's error, where that is known
            if any(number_at(arm, *path).value is not None for arm in arms.values()):
                columns.append(Asked(f"{classes[0]}, corrected", _read(results, *path, style=".2f")))
    flagged = Asked("safety-flagged", lambda arm, own: bare(number_at(arms[arm], "blanked"), own))
    return [*columns, Asked("unclassified", unclassified), flagged]


def _quality(results: Results) -> list[Asked]:
    first = next(iter(results["arms"].values()))
    paths: dict[str, tuple[str, ...]] = {
        **{title_of(metric, results): (key_of(metric, first),) for metric in quality.METRICS},
        "KID within modes": ("within_modes", "kid"),
        "precision within modes": ("within_modes", "precision"),
    }
    columns = [Asked(title, _read(results, *path, style=".3g", floor=True)) for title, path in paths.items()]
    scores = {arm: clip_score(tree) for arm, tree in results["arms"].items()}
    if any(score.value is not None for score in scores.values()):
        columns.append(Asked(quality.CLIP_SCORE.title, lambda arm, own: written(scores[arm], own, ".2f")))
    return columns


def _preservation(results: Results) -> list[Asked]:
    ratios = {arm: number_at(tree, *PRECISION_OF_SWITCHED.key.split("/")) for arm, tree in results["arms"].items()}
    return [
        Asked(KEPT_COSINE.title, _read(results, KEPT_COSINE.key)),
        Asked("PSNR, dB", _read(results, "psnr", style=".1f")),
        Asked("switched", _read(results, "turned", "share")),
        Asked(PRECISION_OF_SWITCHED.title, lambda arm, own: counted(ratios[arm], own)),
    ]


def _cost(results: Results) -> list[Asked]:
    def numbers(key: str) -> dict[str, Number]:
        return {arm: number_at(results, "cost", key, arm) for arm in (*results["arms"], "vanilla")}

    def ratio(title: str, key: str) -> Asked:
        return Asked(title, lambda arm, own: written(over_vanilla(results, key, arm), own, ".2f"))

    seconds, rows = numbers("seconds_per_image"), numbers("rows_per_image")
    counted_rows = any(it.value is not None for it in rows.values())  # earlier jobs did not count them
    return [
        Asked("s / image", lambda arm, own: written(seconds[arm], own, ".3g")),
        ratio("ratio", "seconds_per_image"),
        *([ratio("rows", "rows_per_image")] if counted_rows else []),
    ]


def cost_rows(results: Results, notes: Notes) -> list[tuple[str, str]]:
    """What guidance costs beside vanilla sampling."""
    rows = {
        "Time of guided over vanilla sampling": "ratio",
        "Rows that the denoiser evaluated for a guided image over those for a vanilla one": "rows_ratio",
        "Share of the guided time spent in guidance itself": "guidance_share",
        "Peak memory of guided over vanilla sampling": "peak_memory_ratio",
    }
    return [(text, written(number_at(results, "cost", key), notes)) for text, key in rows.items()]
