"""A table, and its writers: plain text for a terminal and its logs, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from selfdebias.report.wording import clip, columns_of, escaped, wrapped

GAP = 2  # terminal columns between two columns of a table
NARROWEST = 40  # terminal columns that a table needs
_OF_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}


class Column(NamedTuple):
    """One column of a table: its title, a cell for each row, and a cell for each row of the footer."""

    title: str
    cells: Sequence[Any]
    footer: Sequence[str] = ("",)


@dataclass(frozen=True)
class Table:
    """Rows of cells under the titles of their columns.

    Attributes:
        columns: Titles of the columns.
        rows: Rows of as many cells as there are titles: texts, or plain numbers, None where there is none.
        title: What stands above the table, "" for nothing.
        footer: Rows of texts below the others, such as their mean.
        notes: Sentences below the table.
        names: How many of the first columns name a row; a terminal shows them again where a table is too wide for it.
        name_width: Terminal columns of the longest name; longer ones are cut.

    Example:
        >>> Table.of_columns([Column("arm", ["vanilla", "guided"]), Column("N", [64, 32])]).rows
        [['vanilla', 64], ['guided', 32]]
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    footer: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()
    names: int = 1
    name_width: int = 24

    @classmethod
    def of_columns(cls, columns: Sequence[Column], **others: Any) -> Table:
        """A table of these columns; `others` are its other attributes."""
        rows = [list(cells) for cells in zip(*(column.cells for column in columns), strict=True)]
        footer = [list(cells) for cells in zip(*(column.footer for column in columns), strict=True)]
        return cls([column.title for column in columns], rows, footer=footer, **others)

    @property
    def filled_footer(self) -> list[Sequence[str]]:
        """The rows of the footer that have more than a name."""
        return [row for row in self.footer if any(row[1:])]


def to_text(headline: str, tables: Sequence[Table], notes: Sequence[str], width: int = 80) -> str:
    """Writes tables between a headline and notes as plain text, readable in a terminal and in a log.

    Args:
        headline: What stands first.
        tables: One or more.
        notes: What stands last, after the notes of the tables.
        width: Terminal columns, at least 40; no line is longer and the rules are exactly as long.

    Returns:
        The text, without a newline at its end.

    Raises:
        ValueError: If `width` is below 40.
    """
    if width < NARROWEST:
        raise ValueError(f"`width` must be at least {NARROWEST}, got {width}.")
    lines = ["=" * width, *wrapped(headline, width)]
    for table in tables:
        lines += ["-" * width, *wrapped(table.title.upper(), width), *text_lines(table, width)]
    lines.append("-" * width)
    for note in [*(note for table in tables for note in table.notes), *notes]:
        lines += wrapped(note, width)
    return "\n".join([*lines, "=" * width])


def to_markdown(headline: str, tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Writes the same as Markdown, each table under its title, with its notes as a list."""
    parts = [f"**{escaped(headline)}**"]
    for table in tables:
        lines = [
            "| " + " | ".join(map(escaped, row)) + " |" for row in (table.columns, *table.rows, *table.filled_footer)
        ]
        lines.insert(1, "|" + " --- |" * len(table.columns))
        parts += [f"### {escaped(table.title)}"] if table.title else []
        parts += ["\n".join(lines), _list(table.notes)] if table.notes else ["\n".join(lines)]
    return "\n\n".join([*parts, _list(notes)]) + "\n"


def to_latex(table: Table) -> str:
    r"""Writes a table for a paper that loads `booktabs`.

    Example:
        >>> print(to_latex(Table(["arm", "fd_hard"], [["guided", "0.1 (<= 0.2)"]], footer=[["floor", "0.05"]])))
        \begin{tabular}{ll}
        \toprule
        arm & fd\_hard \\
        \midrule
        guided & 0.1 ($<$= 0.2) \\
        \midrule
        floor & 0.05 \\
        \bottomrule
        \end{tabular}
        <BLANKLINE>
    """
    parts = [[table.columns], table.rows, table.filled_footer]
    blocks = ["".join(" & ".join(map(_latex, row)) + " \\\\\n" for row in rows) for rows in parts if rows]
    ends = r"\begin{tabular}{" + "l" * len(table.columns) + "}\n\\toprule\n", "\\bottomrule\n\\end{tabular}\n"
    return ends[0] + "\\midrule\n".join(blocks) + ends[1]


def to_csv(table: Table) -> str:
    """Writes columns and rows as CSV; what is None is empty.

    Example:
        >>> to_csv(Table(["arm", "n"], [["guided", 8], ["random, too", None]]))
        'arm,n\\nguided,8\\n"random, too",\\n'
    """
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([table.columns, *table.rows])
    return file.getvalue()


def narrowed(table: Table, wanted: Sequence[str], kept: Iterable[int], width: int, notes: Sequence[str] = ()) -> Table:
    """Some rows of a table with as many of its columns as fit beside each other, in their order.

    Args:
        table: Its cells are texts.
        wanted: Titles by their weight, without what stands in brackets; the other columns come after them.
        kept: Places of the rows.
        width: Terminal columns of the longest line.
        notes: What stands below.

    Example:
        >>> table = Table(["arm", "N", "kept", "KID (clip)"], [["a", "8", "0.9", "1.5"], ["b", "8", "0.8", "2.5"]])
        >>> narrowed(table, ["KID"], [1], 18).columns, narrowed(table, ["KID"], [1], 18).rows
        (['arm', 'N', 'KID (clip)'], [['b', '8', '2.5']])
    """
    kept = list(kept)
    columns = [[title, *(table.rows[row][at] for row in kept), *(it[at] for it in table.footer)]
               for at, title in enumerate(table.columns)]  # fmt: skip
    weights = {title: place for place, title in enumerate(wanted)}
    others = range(table.names, len(columns))
    chosen = list(range(table.names))
    for at in sorted(others, key=lambda at: weights.get(table.columns[at].partition(" (")[0], len(weights))):
        if _width([[clip(str(cell), table.name_width) for cell in columns[it]] if it < table.names else columns[it]
                   for it in [*chosen, at]]) <= width:  # fmt: skip
            chosen.append(at)
    chosen = sorted(chosen)
    footer = [[row[at] for at in chosen] for row in table.footer]
    rows = [[table.rows[row][at] for at in chosen] for row in kept]
    return replace(table, columns=[table.columns[at] for at in chosen], rows=rows, footer=footer, notes=notes)


def text_lines(table: Table, width: int) -> list[str]:
    """The lines of a table: columns side by side, as many as fit, and the rest in further blocks of rows.

    In each block a row is left out if it has nothing beside its names, but for the titles.

    Args:
        table: Its cells are texts.
        width: Terminal columns of the longest line.

    Returns:
        The lines, with an empty one between blocks.

    Example:
        >>> print(*text_lines(Table(["arm", "N", "kept"], [["a", "128", "0.9"], ["b", "128", ""]]), 9), sep="\\n")
        arm  N
        a    128
        b    128
        <BLANKLINE>
        arm  kept
        a    0.9
    """
    columns = list(zip(table.columns, *table.rows, *table.footer, strict=True))
    heads = [[clip(cell, table.name_width) for cell in column] for column in columns[: table.names]]
    used, blocks = _width(heads), [heads]
    for column in columns[table.names :]:
        cells = [clip(cell, width - used - GAP) for cell in column]
        if len(blocks[-1]) > table.names and _width([*blocks[-1], cells]) > width:
            blocks.append(heads)
        blocks[-1] = [*blocks[-1], cells]
    return [line for block in blocks for line in [*_block_lines(block, table.names), ""]][:-1]


def _block_lines(block: Sequence[Sequence[str]], names: int) -> list[str]:
    """The lines of columns that fit beside each other."""
    lines, sizes = [], [max(map(columns_of, cells)) for cells in block]
    for place, row in enumerate(zip(*block, strict=True)):
        if place == 0 or len(block) == names or any(cell.strip() for cell in row[names:]):
            padded = [cell + " " * (size - columns_of(cell)) for cell, size in zip(row, sizes, strict=True)]
            lines.append((" " * GAP).join(padded).rstrip())
    return lines


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(columns_of, cells)) for cells in columns) + GAP * (len(columns) - 1)


def _list(notes: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(note)}" for note in notes)


def _latex(cell: Any) -> str:
    """A cell without what LaTeX takes for a command."""
    text = "" if cell is None else str(cell)
    told = re.sub(r"[\\~^<>&%$#_{}]", lambda found: _OF_LATEX.get(found[0], "\\" + found[0]), text)
    is_option = text.startswith(("[", "*"))  # to LaTeX, behind the end of the line before
    return "{}" + told if is_option else told
