"""The page of a finished job: one self-contained HTML file, without scripts and without anything to fetch."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from selfdebias.metrics.number import Number, number_at
from selfdebias.report.comparisons import grids, grids_in_words, verdicts_in_short
from selfdebias.report.explanations import by_section, interval_in_words
from selfdebias.report.folders import asked_of_folders
from selfdebias.report.job_table import cost_rows, headline, sections, shown_in, skipped_in_words
from selfdebias.report.material import Material, settings
from selfdebias.report.measures import Results, arms_of, attributes_of, class_shares, images_of
from selfdebias.report.mode_rows import modes_on_page, place_in_words, target_of
from selfdebias.report.table import Table
from selfdebias.report.trial import trial_in, trial_verdict
from selfdebias.report.verdict import changed_in_words, chose_seeds, verdict
from selfdebias.report.wording import Notes, plain, prompt_of, written
from selfdebias.storage.hidden import hidden, redacted_command
from selfdebias.storage.provenance import in_words

if TYPE_CHECKING:
    from selfdebias.report.gallery import Chart
    from selfdebias.report.pairs import Pair

NO_BREAK, ARROW = chr(0xA0), chr(0x2192)
FAIRNESS = "Fairness"  # the title of its table
FIRST_PAIRS = 16  # of an arm; the others are folded


@dataclass(frozen=True)
class ArmPairs:
    """The pairs of one arm that the page shows; of all its `twins` pairs, `others` are of two seeds."""

    arm: str
    pairs: list[Pair]
    others: int
    twins: int


@dataclass(frozen=True)
class Pictures:
    """All that is seen on a page.

    Attributes:
        files: PNG files by name: `mode-<k>`, `<arm>-<id>` for pairs, `grid-<arm>` for arms without pairs.
        pairs: The pairs of each arm that has some.
        charts: Charts by section: `shares`, `p_hat`, `curves`, `maps`.
        alone: The arms without pairs, each shown as a grid.
    """

    files: dict[str, bytes]
    pairs: list[ArmPairs]
    charts: dict[str, list[Chart]]
    alone: list[str] = field(default_factory=list)


def environment() -> Environment:
    """What fills the templates of pages: everything is escaped, and nothing that is not there is passed over."""
    loader = PackageLoader("selfdebias", "report")
    found = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    found.filters |= {"data_uri": data_uri, "unbroken": unbroken, "arrows": arrows}
    return found


def data_uri(png: bytes) -> str:
    """A PNG file as the address of an image that needs no request.

    >>> data_uri(b"abc")
    'data:image/png;base64,YWJj'
    """
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def unbroken(cell: str) -> str:
    """A cell of a table in which lines break around an interval and around the parts of a remark, and nowhere else.

    >>> ascii(unbroken("0.5 [0.4, 0.6] / n/a [1] / 0.1 (at floor, <= 0.3)"))
    "'0.5 [0.4,\\\\xa00.6] / n/a\\\\xa0[1] / 0.1 (at\\\\xa0floor, <=\\\\xa00.3)'"
    """
    inside = re.sub(r"\[[^\]]*\]|\([^),]*|<= \S*", lambda found: found[0].replace(" ", NO_BREAK), cell)
    return inside.replace("n/a [", f"n/a{NO_BREAK}[")


def arrows(text: str) -> str:
    """A text whose arrows of two signs, between which a line may break, are one sign.

    >>> ascii(arrows("73% -> 54%"))
    "'73% \\\\u2192 54%'"
    """
    return text.replace(" -> ", f" {ARROW} ")


def render_page(material: Material, pictures: Pictures) -> str:
    """Fills the template.

    Args:
        material: What the stages left.
        pictures: All pictures and charts.

    Returns:
        An HTML document; every foreign text in it is escaped.
    """
    results, notes = material.results, Notes()
    modes, shares = modes_on_page(material, notes), share_rows(results, notes)
    tables, extra = sections(results, notes), grids(results, notes)
    cost, cosine = cost_rows(results, notes), number_at(material.trained, "cosine_held_out")
    said = notes_by_section(results, notes, modes, shares, cost, tables, extra)
    return environment().get_template("page.html.j2").render(
        **frame(material.job, results),
        title=headline(results).removeprefix("SelfDebias: ") if "sources" in results else prompt_of(results),
        **judgement(results, trial_in(material.job.get("command")), [it.arm for it in pictures.pairs], said.pop("edits")),
        warnings=warnings(results),
        asked=asked_of_folders(material) if "sources" in results else asked(material),
        skipped=skipped_in_words(results),
        baseline=plain(material.baseline),
        of_folders="sources" in results,
        changed={it.arm: changed_in_words(results, it.arm) for it in pictures.pairs},
        first=FIRST_PAIRS,
        pictures=pictures,
        place=partial(place_in_words, material.found),
        modes=modes,
        arms=arms_of(results),
        shares=shares,
        fairness=[table for table in tables if table.title == FAIRNESS],
        quality=[table for table in tables if table.title != FAIRNESS],
        grids=[(grid, grids_in_words(results, [grid.title])) for grid in extra],
        cost=cost,
        cosine=written(cosine, notes) if material.trained else "",
        by_block=material.accuracy_by_block,
        interval=interval_in_words(results),
        said=said,
    )  # fmt: skip


def judgement(results: Results, trial: str, arms: Sequence[str], edits: Sequence[str]) -> dict[str, Any]:
    """The verdict, what is said below it, and what is said of each further arm; of a trial that its numbers mean nothing.

    Args:
        results: The contents of `results.json`.
        trial: As `selfdebias.report.trial.trial_in` returns it.
        arms: Those that have pairs.
        edits: What is said of edits that were left out.
    """
    if trial:
        return {"verdict": trial_verdict(trial), "lines": edits, "of_arm": dict.fromkeys(arms, "")}
    of_arm = {arm: f": {verdict(results, arm).sentence}" for arm in arms}
    return {"verdict": verdict(results), "lines": [*verdicts_in_short(results), *edits], "of_arm": of_arm}


def frame(job: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """How a page ends: the command, and what the job was made with."""
    return {
        "command": plain(redacted_command(str(job.get("command") or "selfdebias"))),
        "config_hash": results.get("config_hash", ""),
        "made_with": in_words(job.get("made_with", {})),
        "tags": ", ".join(plain(it) for it in hidden(job.get("tags", []))),
    }


def notes_by_section(
    results: Results, notes: Notes, modes: Mapping[str, Any], shares: Sequence[Any], cost: Sequence[Any],
    tables: Sequence[Table], extra: Sequence[Table],
) -> dict[str, list[str]]:  # fmt: skip
    """What a reader has to know about the numbers of each section, with the footnotes of its cells.

    Args:
        results: The contents of `results.json`.
        notes: The footnotes of all cells.
        modes: As of `modes_on_page`.
        shares: As of `share_rows`.
        cost: As of `cost_rows`.
        tables: As of `sections`.
        extra: As of `grids`.
    """
    fairness = [row for table in tables if table.title == FAIRNESS for row in table.rows]
    quality = [row for table in [*tables, *extra] if table.title != FAIRNESS for row in table.rows]
    cells = {"modes": modes, "fairness": [shares, fairness], "cost": cost, "quality": quality}
    found = {name: [line for line in notes.lines() if line.split()[0] in marks(it)] for name, it in cells.items()}
    found["quality"] += [
        line for line in notes.lines() if line not in chain(*found.values())
    ]  # of columns that are left out
    texts = by_section(results, shown_in(tables, extra))
    interval = interval_in_words(results)  # which stands below the charts
    found |= {name: [*texts[name], *found[name]] for name in ("modes", "quality")}
    found["fairness"] = [*(text for text in texts["fairness"] if text != interval), *found["fairness"]]
    return {**found, "edits": texts["edits"], "folders": texts["folders"]}


def marks(cells: object) -> set[str]:
    """The marks of footnotes in texts, however deep they are nested.

    >>> sorted(marks({"a": ["0.5", ("n/a [2]", "n/a [1] / 0.5 [0.4, 0.6]")]}))
    ['[1]', '[2]']
    """
    if isinstance(cells, str):
        return set(re.findall(r"n/a (\[\d+\])", cells))
    nested: Iterable[object] = (
        cells.values() if isinstance(cells, Mapping) else cells if isinstance(cells, (list, tuple)) else ()
    )
    return set().union(*map(marks, nested))


def warnings(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know before any number."""
    judge = results.get("judge", {})
    if not judge.get("circular"):
        return []
    return [
        f"The judge rests on the encoder that the modes were found with ({plain(judge.get('encoder_id'))}): "
        "that the two agree is circular."
    ]


def asked(material: Material) -> list[tuple[str, str]]:
    """What was asked of the job: pairs of a name and a value."""
    results = material.results
    seeds, templates = results.get("seeds", {}), results.get("prompts", {}).get("templates") or []
    counts = ", ".join(f"{plain(arm)} {images_of(results, arm) or '?'}" for arm in arms_of(results))
    others = ", ".join(plain(arm) for arm in arms_of(results) if chose_seeds(results, arm))
    same = f"the same in all arms{f' but {others}, which chose others' if others else ''}"
    return [
        ("Prompt", prompt_of(results)),
        *([("Templates", "; ".join(map(plain, templates)))] if templates else []),
        ("Images (N)", f"{counts}; modes from {len(material.found['labels'])} other vanilla images"),
        ("Seeds", f"collect {seeds.get('collect', '?')}, generate {seeds.get('generate', '?')} ({same})"),
        ("Target", target_of(material.found)),
        *settings(material.job.get("config", {})),
    ]


def share_rows(results: Mapping[str, Any], notes: Notes) -> list[tuple[str, str, list[str]]]:
    """Share of each class with its interval: attribute, class, one cell for each arm."""
    rows = []
    for attribute in attributes_of(results):
        by_arm = {arm: class_shares(results, arm, attribute) for arm in arms_of(results)}
        for name in dict.fromkeys(name for entries in by_arm.values() for name in entries):
            absent = Number(reason=f"the shares of {attribute} were not computed")
            rows.append(
                (plain(attribute), plain(name), [written(it.get(name, absent), notes) for it in by_arm.values()])
            )
    return rows
