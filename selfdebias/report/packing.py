"""Columns of text side by side, in as many blocks as a terminal's width asks for."""

from __future__ import annotations

from collections.abc import Sequence

from selfdebias.report.wording import clip, columns_of, padded

GAP = 2  # terminal columns between two columns


def packed(heads: Sequence[Sequence[str]], columns: Sequence[Sequence[str]], width: int) -> list[str]:
    """Puts columns side by side, as many as fit, and starts a new block of rows for the rest.

    In each block a row is left out if it has nothing beside its heads, but for the first row, of titles.

    Args:
        heads: Columns that stand at the left of each block, R cells each, the title first.
        columns: The others, R cells each.
        width: Terminal columns of the longest line.

    Returns:
        The lines, with an empty one between blocks.

    Example:
        >>> print(*packed([["arm", "a", "b"]], [["N", "128", "128"], ["kept", "0.9", ""]], 9), sep="\\n")
        arm  N
        a    128
        b    128
        <BLANKLINE>
        arm  kept
        a    0.9
    """
    used = _width(heads)
    blocks: list[list[list[str]]] = []
    for column in columns:
        cells = [clip(text, width - used - GAP) for text in column]
        if not blocks or used + GAP + _width([*blocks[-1], cells]) > width:
            blocks.append([])
        blocks[-1].append(cells)
    lines = [[*_lines(heads, block), ""] for block in blocks or [[]]]
    return [line for block in lines for line in block][:-1]


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(columns_of, cells)) for cells in columns) + GAP * (len(columns) - 1)


def _lines(heads: Sequence[Sequence[str]], block: Sequence[Sequence[str]]) -> list[str]:
    together = [*heads, *block]
    widths = [max(map(columns_of, cells)) for cells in together]
    lines = []
    for place in range(len(together[0])):
        if place == 0 or not block or any(cells[place].strip() for cells in block):
            cells = [padded(cells[place], size) for cells, size in zip(together, widths, strict=True)]
            lines.append((" " * GAP).join(cells).rstrip())
    return lines
