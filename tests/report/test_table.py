"""A table says the same to a terminal, in Markdown, in LaTeX and as CSV."""

from __future__ import annotations

import csv
import io
import re

import pytest

from selfdebias.report.table import Column, Table, to_csv, to_latex, to_markdown, to_text
from selfdebias.report.wording import columns_of

HOSTILE = r"a_b & 50% #1 {x} \y ~ ^ $ | <i> `c` *"


def example(**others) -> Table:
    columns = [
        Column("arm", ["vanilla", "guided"], ["mean", "floor"]),
        Column("fd_hard", ["0.4 [0.3, 0.5]", "0.1"], ["0.25", "0.05"]),
        Column("kept", ["", "0.9"], ["0.9", ""]),
    ]
    return Table.of_columns(columns, title="Fairness", **others)


def test_rows_are_the_columns_turned_around():
    table = example()
    assert table.rows == [["vanilla", "0.4 [0.3, 0.5]", ""], ["guided", "0.1", "0.9"]]
    assert table.footer == [["mean", "0.25", "0.9"], ["floor", "0.05", ""]]
    with pytest.raises(ValueError, match="shorter"):
        Table.of_columns([Column("arm", ["a", "b"]), Column("N", [1])])


def test_a_row_of_the_footer_with_a_name_alone_is_left_out():
    bare = Table(["arm", "N"], [["vanilla", "8"]], footer=[["floor", ""]])
    assert "floor" not in to_text("", [bare], []) + to_markdown("", [bare], []) + to_latex(bare)
    assert all("floor" in text for text in (to_text("", [example()], []), to_markdown("", [example()], [])))


@pytest.mark.parametrize("width", [40, 80])
def test_text_is_as_wide_as_asked_and_shows_names_again_where_columns_do_not_fit(width):
    columns = [Column("arm", ["顔" * 30, "guided"])] + [Column(f"number {i}", ["1.0", "2.0"]) for i in range(20)]
    text = to_text("head", [Table.of_columns(columns)], ["a note " * 20], width)
    assert max(map(columns_of, text.splitlines())) == width
    assert text.count("\nguided") == text.count("\narm") > 1
    assert all(text.count(f"number {i} ") + text.count(f"number {i}\n") == 1 for i in range(20))


def test_notes_of_tables_stand_before_the_others():
    for text in (
        to_text("head", [example(notes=["first"])], ["last"]),
        to_markdown("head", [example(notes=["first"])], ["last"]),
    ):
        assert text.index("head") < text.index("kept") < text.index("first") < text.index("last")


def test_markdown_rows_have_as_many_cells_as_titles():
    text = to_markdown(HOSTILE, [Table(["a|b", "c"], [[HOSTILE, "1"]], HOSTILE)], [HOSTILE])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3} and len(lines) == 3


def test_latex_has_rules_between_titles_rows_and_footer_and_no_command_of_a_cell():
    lines = to_latex(example()).splitlines()
    assert [lines[0], lines[-1]] == [r"\begin{tabular}{lll}", r"\end{tabular}"]
    assert [i for i, line in enumerate(lines) if line.endswith("rule")] == [1, 3, 6, 9]
    assert all(line.endswith(r" \\") and line.count(" & ") == 2 for line in lines[1:-1] if not line.endswith("rule"))
    (row,) = [line for line in to_latex(Table(["a", "b"], [[HOSTILE, None]])).splitlines() if line.startswith("a\\_b")]
    assert (
        row == r"a\_b \& 50\% \#1 \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \$ | $<$i$>$ `c` * &  \\"
    )


def test_csv_is_read_back():
    rows = [["guided, too", 0.1, None], ['"quoted"', 8, 1e-9]]
    lines = list(csv.reader(io.StringIO(to_csv(Table(["arm", "n", "value"], rows)))))
    assert lines == [["arm", "n", "value"], ["guided, too", "0.1", ""], ['"quoted"', "8", "1e-09"]]


def test_a_latex_cell_that_begins_with_a_bracket_is_not_taken_for_a_length():
    """A line of a table ends in two backslashes, behind which [..] is a length and * no page break."""
    rows = to_latex(Table(["target", "a"], [["[0.9,0.1]", "1"], ["*", "2"]])).splitlines()
    assert [row for row in rows if row.startswith("{}")] == ["{}[0.9,0.1] & 1 \\\\", "{}* & 2 \\\\"]
