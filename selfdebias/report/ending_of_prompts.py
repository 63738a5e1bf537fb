"""The end of a job with a list of prompts in a terminal: a bar for each prompt and arm, the mean, and where all else is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.number import Number, number_at
from selfdebias.report.bars import ASCII, BarRow, Signs, bar_lines
from selfdebias.report.ending import LINES, WIDTH, height, joined, place_lines
from selfdebias.report.explanations import skipped_edits_in_words
from selfdebias.report.measures import Results
from selfdebias.report.prompts import headline, names_of
from selfdebias.report.trial import after_trial, trial_verdict
from selfdebias.report.verdict import arms_in, verdict
from selfdebias.report.wording import clip, number, plain, wrapped


def render_end(
    results: Results, config: Mapping[str, Any], places: Mapping[str, str], signs: Signs = ASCII, trial: str = ""
) -> str:
    """Writes the end of a job with a list of prompts, at most 25 lines of 80 columns; a path is never cut.

    Args:
        results: The contents of `results.json` of such a job.
        config: The job's configuration.
        places: Paths by what is there: `picture`, `report`.
        signs: What bars are drawn with.
        trial: As in `selfdebias.report.ending.render_end`.
    """
    attribute = results["prompts"]["attributes"][0]
    head = [clip(line, WIDTH) for line in wrapped(headline(results).removeprefix("SelfDebias: "), WIDTH)][:4]
    compared: list[str | None] = [*arms_in(results)[1:3]]
    judged = [line for arm in compared or [None] for line in _verdict(results, arm)]
    judged = wrapped(trial_verdict(trial).sentence, WIDTH) if trial else judged
    said = [*judged, *kept_lines(results), *wrapped(" ".join(skipped_edits_in_words(results)), WIDTH)[:2]]
    following = after_trial(trial) if trial else f"one prompt alone, with its modes and pictures: {_one(results)}"
    last = [*place_lines(places), f"next: {following}"]
    last[-1] = clip(last[-1], WIDTH)
    left = LINES - sum(map(height, [*head, *said, *last])) - 1
    return joined([head, prompt_lines(results, attribute, signs, left), said, last])


def _verdict(results: Results, arm: str | None) -> list[str]:
    """The verdict on an arm; with its name where there are several."""
    name = f"{plain(arm)}: " if arm and len(arms_in(results)) > 2 else ""
    return [clip(line, WIDTH) for line in wrapped(name + verdict(results, arm).sentence, WIDTH)][:3]


def _one(results: Results) -> str:
    return f"rows/{next(iter(names_of(results)), '')}/report.html"


def prompt_lines(results: Results, attribute: str, signs: Signs, most: int) -> list[str]:
    """A row for each prompt and one for their mean, as at most `most` rows: those whose last arm is furthest from even come first
    where not all have room.

    Of an attribute with two classes the share of the first one, of others how far the largest share is from an even one.
    """
    arms, names = arms_in(results), names_of(results)
    first = next((it["class"] for arm in arms if (it := _share(results, arm, attribute))), "")
    path, mean = (
        (("shares", attribute, first), "share") if first else ((attribute, "deviation_ratio"), "deviation_ratio")
    )
    target = 0.5 if first else 0.0
    rows = {}
    for row, name in names.items():
        tree = results["rows"][row]["arms"]
        rows[row] = BarRow(name, {arm: number_at(tree.get(arm), *path) for arm in arms}, target)
    means = {arm: number_at(results["over_prompts"].get(arm), attribute, mean) for arm in arms}
    shown, cut = list(rows), len(rows) + 1 - most
    if cut > 0:
        shown = sorted(rows, key=lambda row: -_far(rows[row].shares.get(arms[-1]), target))[: max(0, most - 2)]
    title = f"share of {first}" if first else f"{plain(attribute)}, dev. ratio"
    lines = bar_lines(title, [*(rows[row] for row in shown), BarRow("mean", means, target)], arms, signs, WIDTH)
    return lines + ([f"  and {len(rows) - len(shown)} prompts that are nearer to even, in table.md"] if cut > 0 else [])


def _share(results: Results, arm: str, attribute: str) -> Mapping[str, Any]:
    """The mean share of the first class of an attribute with two of them; {} for others."""
    return (results["over_prompts"].get(arm) or {}).get(attribute, {}).get("share") or {}


def _far(found: Number | None, target: float) -> float:
    return -1.0 if found is None or found.value is None else abs(found.value - target)


def kept_lines(results: Results) -> list[str]:
    """Likeness of unswitched images, as the mean over prompts; nothing where no arm is guided."""
    found = {arm: number_at(results["over_prompts"].get(arm), "kept_cosine") for arm in arms_in(results)}
    said = [f"{plain(arm)} {number(it.value, '.2f')}" for arm, it in found.items() if it.value is not None]
    return [f"likeness of unswitched images (1 is as in vanilla): {', '.join(said)}"] if said else []
