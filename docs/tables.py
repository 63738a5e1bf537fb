"""Markdown of the generated pages: tables whose cells hold any text, and the first sentence of a docstring."""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

SPECIAL = str.maketrans({sign: f"&#{ord(sign)};" for sign in "|*_[]{}`\\"})


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; cells are Markdown as `text` and `code` make it."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def text(said: Any) -> str:
    """Text that says what it says in a cell: code in backticks stays code, all other signs stand for themselves.

    Example:
        >>> text("`a|b` of ||h||, *.png")
        '<code>a&#124;b</code> of &#124;&#124;h&#124;&#124;, &#42;.png'
        >>> text("`a_b`")
        '`a_b`'
    """
    parts = re.split(r"`([^`]+)`", " ".join(str(said).split()))
    return "".join(
        code(part) if i % 2 else html.escape(part, quote=False).translate(SPECIAL) for i, part in enumerate(parts)
    )


def code(said: Any) -> str:
    """A piece of code in a cell."""
    if not {*"|`\n"} & {*str(said)} and str(said).strip():
        return f"`{said}`"
    return f"<code>{html.escape(str(said), quote=False).translate(SPECIAL)}</code>"


def summary(thing: Any) -> str:
    """The first paragraph of what a function or class says of itself."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
