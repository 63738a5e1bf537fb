"""Shares as small bars of text, one row for each mode, class or prompt, with a bar for each arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from selfdebias.metrics.number import Number
from selfdebias.report.table import GAP, Column, Table, text_lines
from selfdebias.report.wording import clip, columns_of, percent, plain

CELLS = 8  # signs of a bar, beside the mark of its target
WITH_BARS, MOST_ARMS = 2, 4  # arms with a bar; arms that are shown
LEAST_ROOM = 10  # columns below which captions are left out


class Signs(NamedTuple):
    """What a bar is drawn with."""

    filled: str
    empty: str
    mark: str


ASCII, BLOCKS = Signs("#", ".", "|"), Signs("█", "·", "│")


class BarRow(NamedTuple):
    """A row: what images are counted of, their share in each arm, the share that is wanted, captions for it, and for the others."""

    name: str
    shares: Mapping[str, Number]
    target: float | None
    captions: Sequence[str] = ()
    others: Sequence[str] = ()


def signs_of(encoding: str | None) -> Signs:
    """Blocks where a terminal of this encoding can show them, else plain signs.

    Example:
        >>> signs_of("ascii") == signs_of(None) == ASCII, signs_of("utf-8") == BLOCKS
        (True, True)
    """
    try:
        "".join(BLOCKS).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def bar(share: float, target: float | None = None, signs: Signs = ASCII, cells: int = CELLS) -> str:
    """A share as a bar, with a mark at the target; it is empty at 0 alone, and full at 1 alone.

    Example:
        >>> bar(0.73, 0.5), bar(0.0, 0.5), bar(1.0, 1.0), bar(0.001), bar(0.999)
        ('####|##..', '....|....', '########|', '#.......', '#######.')
    """
    filled = int(share * cells + 0.5)
    if 0 < share < 1:
        filled = min(max(filled, 1), cells - 1)
    text = signs.filled * filled + signs.empty * (cells - filled)
    at = cells if target is None else int(target * cells + 0.5)
    return text[:at] + ("" if target is None else signs.mark) + text[at:]


def cell(found: Number, target: float | None, signs: Signs | None) -> str:
    """A share in percent, beside its bar where there are signs to draw one with.

    Example:
        >>> cell(Number(0.5), 0.5, ASCII), cell(Number(0.5), 0.5, None), cell(Number(reason="none"), 0.5, ASCII)
        (' 50% ####|....', ' 50%', ' n/a')
    """
    if found.value is None:
        return " n/a"
    return f"{percent(found.value):>4}" + (f" {bar(found.value, target, signs)}" if signs else "")


def bar_lines(
    title: str, rows: Sequence[BarRow], arms: Sequence[str], signs: Signs, width: int = 80, captions: str = "captions"
) -> list[str]:
    """The lines of a table of bars, under its titles.

    Args:
        title: Of the column of names.
        rows: One line each.
        arms: The first ones have bars, some more only the number; the rest is left out.
        signs: What bars are drawn with.
        width: Terminal columns of the longest line.
        captions: Title of their column, which takes what room is left.
    """
    names = [clip(plain(row.name), 16) for row in rows]
    columns = [Column(title, names)]
    for place, arm in enumerate(arms[:MOST_ARMS]):
        drawn = signs if place < WITH_BARS else None
        none = Number(reason="not measured")
        cells = [cell(row.shares.get(arm, none), row.target, drawn) for row in rows]
        columns.append(Column(clip(plain(arm), 14), cells))
    columns.append(Column("target", ["-" if row.target is None else f"{percent(row.target):>4}" for row in rows]))
    used = sum(max(map(columns_of, [it.title, *map(str, it.cells)])) + GAP for it in columns)
    if width - used >= LEAST_ROOM and any(row.captions for row in rows):
        columns.append(Column(captions, [_told(row, width - used) for row in rows]))
    return text_lines(Table.of_columns(columns), width)


def _told(row: BarRow, room: int) -> str:
    """The captions of a row; of one with two sides those of each, which share the room."""
    if not row.others:
        return as_many(row.captions, room)
    own, other, room = row.captions[0] if row.captions else "?", row.others[0], room - 3
    own = clip(own, max(room // 2, room - columns_of(other)))
    return f"{own} / {as_many(row.others, room - columns_of(own))}"


def as_many(texts: Sequence[str], room: int) -> str:
    """The first texts, as many as there is room for.

    Example:
        >>> as_many(["an older man", "a singer", "a pilot"], 22), as_many(["a singer"], 6), as_many([], 6)
        ('an older man, a singer', 'a s...', '')
    """
    said = clip(texts[0], room) if texts else ""
    for text in texts[1:]:
        if columns_of(said) + 2 + columns_of(text) > room:
            break
        said += f", {text}"
    return said


def captions_of(words: Sequence[Sequence[Mapping[str, Any]]], prompts: Sequence[str] = ()) -> list[list[str]]:
    """Captions of each mode without the first words that most of them share or that the prompts say, and without an article.

    Args:
        words: As `modes.json` has them.
        prompts: What the images were asked for: among images of a person, "person with curly hair" is "curly hair".

    Example:
        >>> captions = [["an emoji of a man", "an emoji of an older man"], [], ["an emoji of women", "a day at sea"]]
        >>> captions_of([[{"caption": text} for text in texts] for texts in captions])
        [['man', 'older man'], [], ['women', 'day at sea']]
        >>> captions_of([[{"caption": "a person with curly hair"}], [{"caption": "a singer"}]], ["an emoji of a person"])
        [['curly hair'], ['singer']]
    """
    asked = {word.lower() for prompt in prompts for word in plain(prompt).split()}
    texts = [[plain(word["caption"]).split() for word in each] for each in words]
    every, shared = [text for each in texts for text in each], list[str]()
    while True:
        starts = Counter(tuple(text[: len(shared) + 1]) for text in every if len(text) > len(shared) + 1)
        longer, count = max(starts.items(), key=lambda it: it[1], default=((), 0))
        if count < 2 or 2 * count <= len(every):
            break
        shared = list(longer)
    return [
        [" ".join(_without_asked(_without_article(_without(text, shared)), asked)) for text in each] for each in texts
    ]


def _without(words: list[str], shared: Sequence[str]) -> list[str]:
    """The words after those that they begin with as `shared` does; one at least."""
    same = [word == other for word, other in zip(words[:-1], shared, strict=False)]
    return words[same.index(False) if False in same else len(same) :]


def _without_asked(words: list[str], asked: set[str]) -> list[str]:
    """The words after a first one that was asked for and a "with"; all of them where they do not begin so."""
    return words[2:] if len(words) > 2 and words[0].lower() in asked and words[1].lower() == "with" else words


def _without_article(words: list[str]) -> list[str]:
    return words[1:] if len(words) > 1 and words[0].lower() in ("a", "an", "the") else words
