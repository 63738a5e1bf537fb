"""The end of a job in a terminal, in few lines: what was found, shares before and after, quality, cost, and where all else is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfdebias.metrics.number import Number, number_at
from selfdebias.report.bars import ASCII, MOST_ARMS, BarRow, Signs, as_many, bar_lines, captions_of
from selfdebias.report.comparisons import verdicts_by_arm
from selfdebias.report.explanations import modes_in_words, skipped_edits_in_words
from selfdebias.report.job_table import headline, skipped_in_words
from selfdebias.report.measures import Results, arms_of, attributes_of, class_shares, over_vanilla
from selfdebias.report.next_step import next_step
from selfdebias.report.page import warnings
from selfdebias.report.table import Column, Table, text_lines
from selfdebias.report.trial import after_trial, trial_verdict
from selfdebias.report.verdict import verdict
from selfdebias.report.wording import clip, columns_of, number, plain, wrapped

LINES, WIDTH = 25, 80  # of an end, at most
ROWS = 3  # of the table of shares, that a long prompt leaves room for
UNSURE = 0.05  # share of images that the judge is not sure of from which on it is said
# Numbers of quality by the place in an arm's results, the most telling ones first: a word, what it says, and what is good.
QUALITY = {
    "turned/precision_ratio": ("switched", "their precision; 1 is as good as vanilla"),
    "kept_cosine": ("kept", "likeness of the others; 1 is as in vanilla"),
    "vendi": ("variety", "kinds of image in it; higher is better"),
    "precision": ("realism", "share like the reference; 1 is best"),
    "recall": ("coverage", "share of the reference met; 1 is best"),
    "kid": ("distance", "KID to the reference; 0 is best"),
    "clip_score": ("prompt", "CLIP score, 0 to 100; higher is better"),
}
NUMBERS = 3  # of quality that are shown


def render_end(
    results: Results, found: Mapping[str, Any], config: Mapping[str, Any], places: Mapping[str, str], signs: Signs = ASCII,
    trial: str = "",
) -> str:  # fmt: skip
    """Writes the end of a job, at most 25 lines of 80 columns; a path is never cut.

    Args:
        results: The contents of `results.json` of a job of one prompt, or of an evaluation of folders.
        found: The contents of `modes.json`, {} where none is there.
        config: The job's configuration.
        places: Paths by what is there: `picture`, `report`.
        signs: What bars are drawn with.
        trial: What made a trial of the job (`selfdebias.report.trial.trial_in`), "" for a job whose numbers mean something.
    """
    said = " ".join([f"{headline(results)}.", *modes_in_words(results), *warnings(results)])
    head = [clip(line, WIDTH) for line in wrapped(said.removeprefix("SelfDebias: "), WIDTH)]
    judgement = trial_verdict(trial) if trial else verdict(results)
    judged = [clip(line, WIDTH) for line in wrapped(judgement.sentence, WIDTH)][:3]
    measured = [*quality_lines(results), *([] if trial else outcome_lines(results)), *cost_lines(results)]
    following = after_trial(trial) if trial else next_step(results, config)
    last = [*notes_of(results), *place_lines(places), *wrapped(f"next: {following}", WIDTH)]
    head = head[: max(2, LINES - ROWS - sum(map(height, [*judged, *measured, *last])))]
    left = LINES - sum(map(height, [*head, *judged, *measured, *last])) - 1  # for the table, under its titles
    table = share_lines(results, found, signs, left)
    return joined([[*head, *judged], table, measured, last])


def joined(blocks: Sequence[Sequence[str]]) -> str:
    """Blocks of lines, with empty lines between as many of them as there is room for."""
    blocks = [block for block in blocks if block]
    spare = LINES - sum(height(line) for block in blocks for line in block)
    gaps = [[""] if place < spare else [] for place, _ in enumerate(blocks)]
    return "\n".join(line for gap, block in zip(gaps, blocks, strict=True) for line in [*gap, *block])


def height(line: str) -> int:
    """Lines of a terminal that a line takes.

    Example:
        >>> height(""), height("a" * 80), height("a" * 81)
        (1, 1, 2)
    """
    return max(1, -(-columns_of(line) // WIDTH))


def share_lines(results: Results, found: Mapping[str, Any], signs: Signs, most: int) -> list[str]:
    """Shares of the modes, or of a side of each axis, and of the largest class of each attribute, as at most `most` rows."""
    judged = judge_rows(results)[: max(0, most)]
    room = max(0, most - len(judged))
    modes = mode_rows(results, found)
    cut = len(modes) - room
    rows = [*(modes[: room - 1] if cut > 0 else modes), *judged]
    kind = "axes" if results.get("modes", {}).get("axes") else "modes"
    told = "captions of side 1 / of side 0" if kind == "axes" else "captions"
    lines = bar_lines("share of", rows, arms_of(results), signs, WIDTH, told) if rows else []
    return lines + ([f"  and {cut + 1} more {kind}, in table.md"] if cut > 0 and room else [])


def mode_rows(results: Results, found: Mapping[str, Any]) -> list[BarRow]:
    """A row for each mode; of axes for the smaller side of each, with captions of both."""
    modes = results.get("modes") or {}
    count, axes = len(modes.get("target") or []), modes.get("axes") or []
    words = captions_of(found.get("words") or [[]] * count, [str(results.get("prompts", {}).get("text") or "")])
    target: list[float | None] = [float(share) for share in modes.get("target") or []]
    rows = []
    for mode in range(1, count, 2) if axes else range(count):
        shares = {
            arm: number_at(tree, "mode_shares", str(mode)) for arm, tree in results["arms"].items()
        }  # of axes: of the side
        if axes and mode // 2 not in modes.get("balanced", range(len(axes))):
            target[mode] = None  # left alone
        told = words[mode] if mode < len(words) else []
        others = words[mode - 1] if axes and mode <= len(words) else []
        name = f"axis {mode // 2}" if axes else f"mode {mode}"
        rows.append(BarRow(_class_of(modes, mode) or name, shares, target[mode], told, others))
    return rows


def _class_of(modes: Mapping[str, Any], mode: int) -> str:
    """The name of a mode that is a class of the judge, "" of one that was found."""
    classes = modes.get("classes") or []
    return str(classes[mode]) if mode < len(classes) else ""


def judge_rows(results: Results) -> list[BarRow]:
    """A row for each judged attribute: the share of the class that is the largest of the first arm, against an equal one."""
    rows, arms = [], arms_of(results)
    for attribute in attributes_of(results):
        shares = class_shares(results, arms[0], attribute)
        known = {name: it.value for name, it in shares.items() if it.value is not None}
        if not known:
            continue
        largest = max(known, key=lambda name: known[name])
        in_arms = {arm: number_at(results["arms"][arm], "shares", attribute, largest) for arm in arms}
        of = f" (judged), largest of {len(shares)}" if len(shares) > 2 else " (judged)"
        rows.append(BarRow(largest, in_arms, 1 / len(shares), [plain(attribute) + of]))
    return rows


def quality_lines(results: Results) -> list[str]:
    """Three numbers of quality in each arm, each with a word, and with what is good; fewer where no more are known."""
    arms = arms_of(results)
    shown, compared = arms[:MOST_ARMS], arms[1:MOST_ARMS] or arms[:1]
    rows: list[list[str]] = []
    for path, (word, meaning) in QUALITY.items():
        found = {arm: number_at(results["arms"][arm], *path.split("/")) for arm in shown}
        if len(rows) < NUMBERS and any(found[arm].value is not None for arm in compared):
            wide = compared if len(shown) < 3 else []
            rows.append([word, *(_quality(found[arm], arm in wide) for arm in shown), meaning])
    if not rows:
        return []
    columns = [Column(title, cells) for title, *cells in zip(["quality", *map(plain, shown), ""], *rows, strict=True)]
    used = sum(max(map(columns_of, [it.title, *it.cells])) + 2 for it in columns[:-1])
    columns[-1] = columns[-1]._replace(cells=[clip(text, max(0, WIDTH - used)) for text in columns[-1].cells])
    return text_lines(Table.of_columns(columns, name_width=8), WIDTH)


def _quality(found: Number, wide: bool) -> str:
    """A number, with its interval where there is room for one."""
    if found.value is None:
        return "n/a"
    text = number(found.value, ".2f")
    if not wide or found.low is None or found.high is None:
        return text
    return f"{text} [{number(found.low, '.2f')}, {number(found.high, '.2f')}]"


def outcome_lines(results: Results) -> list[str]:
    """In what each arm is fairer than the first one, and in what it is less fair."""
    lines, verdicts = [], verdicts_by_arm(results)
    for arm in arms_of(results)[1:MOST_ARMS]:
        lines += wrapped(f"{plain(arm)}: {verdicts[arm]}", WIDTH)[:2] if arm in verdicts else []
    left = len(arms_of(results)) - MOST_ARMS
    return lines + ([f"{left} more {'arm' if left == 1 else 'arms'}: in table.md"] if left > 0 else [])


def cost_lines(results: Results) -> list[str]:
    """Seconds of an image, and time and rows of the denoiser as multiples of vanilla's; nothing where no image was sampled."""
    arms = [arm for arm in arms_of(results) if number_at(results, "cost", "seconds_per_image", arm).value is not None]
    said = []
    for arm in arms[1:MOST_ARMS] or arms:
        seconds, rows = ("seconds_per_image", "vanilla's time"), ("rows_per_image", "its denoiser rows")
        own = f"{plain(arm)} {number(number_at(results, 'cost', seconds[0], arm).value or 0, '.2g')} s an image"
        for key, what in (seconds, rows):
            ratio = over_vanilla(results, key, arm).value
            if ratio is not None and arm != "vanilla":
                own += f", {number(ratio, '.2f')} x {what}"
        said.append(own)
    return wrapped(f"cost: {'; '.join(said)}", WIDTH) if said else []


def notes_of(results: Results) -> list[str]:
    """What must not be missed: files that were skipped, edits left out, images that the judge cannot tell or that were blanked."""
    lines = skipped_in_words(results, most=3)
    for text in skipped_edits_in_words(results):
        lines += wrapped(text, WIDTH)
    unsure = []
    for arm, tree in results["arms"].items():
        found = {name: number_at(tree, "unclassified", name).value for name in attributes_of(results)}
        found["blanked by the safety checker"] = number_at(tree, "blanked").value
        unsure += [f"{plain(arm)}, {plain(name)} {it:.0%}" for name, it in found.items() if it and it >= UNSURE]
    return lines + (wrapped(f"not judged: {'; '.join(unsure)}", WIDTH)[:2] if unsure else [])


def place_lines(places: Mapping[str, str]) -> list[str]:
    """Where picture and report are, and in words what lies beside them."""
    lines = [f"{name}: {path}" for name, path in places.items()]
    beside = " (beside it: table.md, results.json)"
    if lines and columns_of(lines[-1] + beside) <= WIDTH and "report" in places:
        lines[-1] += beside
    return lines


def render_unmeasured(found: Mapping[str, Any], places: Mapping[str, str]) -> str:
    """Writes the end of a job whose stages measure nothing: the modes, if it found some, and where it is.

    Args:
        found: The contents of `modes.json`, {} where none is there.
        places: Paths by what is there.
    """
    if not found:
        return "\n".join(place_lines(places))
    axes, count, words = found.get("axes"), len(found["sizes"]), captions_of(found["words"])
    images = len(found["labels"])
    kind = f"{len(axes)} {'axis' if len(axes) == 1 else 'axes'}" if axes else f"{count} mode{'' if count == 1 else 's'}"
    lines = []
    for mode, (size, told) in enumerate(zip(found["sizes"], words, strict=True)):
        name = f"axis {mode // 2}, side {mode % 2}" if axes else f"mode {mode}"
        lines.append(clip(f"{name}: {size / max(1, images):>4.0%} of them  {as_many(told, 60)}".rstrip(), WIDTH))
    cut = len(lines) - (LINES - 5)
    lines = [*lines[: LINES - 6], f"and {cut + 1} more"] if cut > 0 else lines
    following = "next: measure it, with the stages project, generate, evaluate and report as well"
    return joined([[f"{kind} found on {images} images"], lines, [*place_lines(places), following]])
