"""How numbers and foreign text are written, the same in the terminal, in Markdown and on the page."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from selfdebias.metrics.number import Number

AT_FLOOR = 2  # times the floor: larger values are not called *at the floor*


def plain(text: object) -> str:
    """One line of text without control characters (a prompt must not move the terminal's cursor).

    >>> plain("a" + chr(27) + "[2Jb" + chr(10) + "c")
    'a [2Jb c'
    """
    return "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in str(text)).strip()


def by_text(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names by what is said of them: those of one text are joined, in the order of use.

    >>> by_text([("fair", "gender"), ("unfair", "age"), ("fair", "tone")])
    {'fair': 'gender, tone', 'unfair': 'age'}
    """
    names: dict[str, list[str]] = {}
    for text, name in pairs:
        names.setdefault(text, []).append(plain(name))
    return {text: ", ".join(found) for text, found in names.items()}


def prompt_of(results: Mapping[str, Any]) -> str:
    """The prompt of a job in quotes, on one line.

    >>> prompt_of({"prompts": {"text": "a cat"}}), prompt_of({"prompts": {"text": ""}})
    ('"a cat"', 'no prompt')
    >>> prompt_of({"prompts": {"text": "a cat", "templates": ["Image of {}", "Photo of {}"]}})
    '"a cat" in 2 templates'
    """
    prompts = results.get("prompts", {})
    text, templates = plain(prompts.get("text", "")), prompts.get("templates") or []
    return (f'"{text}"' if text else "no prompt") + (f" in {len(templates)} templates" if len(templates) > 1 else "")


def pooled_seeds(seed: int) -> str:
    """What turns a command into a sweep of three runs, whose table pools their images: the one that is there and two more."""
    return f"-m generate.seed={seed},{seed + 1},{seed + 2}"


def columns_of(text: str) -> int:
    """Terminal columns that a text takes: two for wide signs, none for combining ones.

    >>> columns_of("ab"), columns_of("顔"), columns_of("e" + chr(0x301))
    (2, 2, 1)
    """
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def clip(text: str, width: int) -> str:
    """Cuts a text to `width` terminal columns, with three dots where something is missing.

    >>> clip("construction worker", 10), clip("short", 10)
    ('constru...', 'short')
    """
    if columns_of(text) <= width:
        return text
    while text and columns_of(text) > max(0, width - 3):
        text = text[:-1]
    return (text + "...")[:width]


def wrapped(text: str, width: int) -> list[str]:
    """Wraps a text by terminal columns: wide signs count twice."""
    lines = textwrap.wrap(text, width, subsequent_indent="  ")
    if all(columns_of(line) <= width for line in lines):
        return lines
    return textwrap.wrap(text, width // 2, subsequent_indent="  ")


def escaped(text: str) -> str:
    """The text as it stands in Markdown.

    >>> escaped("a_b | c")
    'a\\\\_b \\\\| c'
    """
    for sign in "\\`*_|<>":
        text = text.replace(sign, "\\" + sign)
    return text


def number(value: float, style: str = ".3f") -> str:
    """Writes a number; a negative zero is a zero.

    >>> number(-0.0001), number(0.00001234, ".3g")
    ('0.000', '1.23e-05')
    """
    text = format(value, style)
    return text.lstrip("-") if float(text) == 0 else text


def percent(share: float | None, style: str = ".0f") -> str:
    """Write a share in percent, n/a for none; 0% and 100% are said of none and of all alone.

    Example:
        >>> percent(0.764), percent(0.125, ".3g"), percent(0.0), percent(0.001), percent(0.999), percent(None)
        ('76%', '12.5%', '0%', '<1%', '>99%', 'n/a')
    """
    if share is None:
        return "n/a"
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{100 * share:{style}}%"


def span(values: Iterable[float | None], style: str = ".3f") -> str:
    """Writes the range of numbers: one where all are written alike, "" where there is none.

    >>> span([0.25, None, 0.5, 0.25]), span([0.25, 0.2501]), span([None])
    ('0.250 to 0.500', '0.250', '')
    """
    texts = sorted({number(value, style) for value in values if value is not None})
    return " to ".join(dict.fromkeys([texts[0], texts[-1]])) if texts else ""


@dataclass
class Notes:
    """Footnotes: each reason for a missing number once, numbered in the order of use."""

    reasons: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def mark(self, reason: str) -> str:
        """Mark of a reason's footnote, for instance `[1]`."""
        reason = plain(reason)
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"[{self.reasons.index(reason) + 1}]"

    def lines(self) -> list[str]:
        """All footnotes, for instance `[1] n/a: no image switched`, with the titles of what is left out for that reason."""
        lines = []
        for place, reason in enumerate(self.reasons, start=1):
            titles = self.left_out.get(f"[{place}]", [])
            lines.append(f"[{place}] n/a: {reason}" + (f" (not shown: {', '.join(titles)})" if titles else ""))
        return lines

    def leave_out(self, title: str, reason: str) -> None:
        """Note that a column is not shown, since no number of it is there."""
        mark = self.mark(reason)
        if title not in self.left_out.setdefault(mark, []):
            self.left_out[mark].append(title)


def written(entry: Number, notes: Notes, style: str = ".3f", floor: bool = False) -> str:
    """Writes a measure with its interval, or `n/a` with the mark of a footnote.

    A distance whose interval contains 0 is *at the floor* up to `AT_FLOOR` times its floor, and else *not told from fair*.

    >>> written(Number(0.25, 0.2, 0.3), Notes())
    '0.250 [0.200, 0.300]'
    >>> written(Number(0.02, 0.0, 0.05, floor=0.022, at_floor=True), Notes())
    '0.020 (at the floor, <= 0.050)'
    >>> written(Number(0.398, 0.0, 0.612, floor=0.099, at_floor=True), Notes())
    '0.398 (not told from fair, <= 0.612)'
    >>> written(Number(reason="no image switched"), Notes())
    'n/a [1]'
    """
    if entry.value is None:
        return f"n/a {notes.mark(entry.reason)}"
    text = number(entry.value, style)
    if entry.at_floor and entry.high is not None:
        near = entry.floor is not None and entry.value <= AT_FLOOR * entry.floor
        text += f" ({'at the floor' if near else 'not told from fair'}, <= {number(entry.high, style)})"
    elif entry.low is not None and entry.high is not None:
        text += f" [{number(entry.low, style)}, {number(entry.high, style)}]"
    if floor and entry.floor is not None:
        text += f" (floor {number(entry.floor, style)})"
    return text


def bare(entry: Number, notes: Notes, style: str = ".3f") -> str:
    """Writes a measure without its interval, for narrow columns."""
    return written(Number(entry.value, reason=entry.reason), notes, style)


def counted(entry: Number, notes: Notes) -> str:
    """Writes a measure with the number of images behind it.

    >>> counted(Number(0.25, n=8), Notes())
    '0.250 (N = 8)'
    """
    return written(entry, notes) + ("" if entry.value is None else f" (N = {entry.n})")
