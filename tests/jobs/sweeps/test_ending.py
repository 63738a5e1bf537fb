"""The end of a sweep in a terminal: one table of 80 columns, the best row, what is missing, and where all else is."""

from __future__ import annotations

import sys

import pytest

from selfdebias.jobs.sweeps.columns import Row, rows_of
from selfdebias.jobs.sweeps.ending import MISSING, ROWS, best_in_words, few
from selfdebias.jobs.sweeps.finished import read_source
from selfdebias.jobs.sweeps.pooling import Group, grouped
from selfdebias.jobs.sweeps.table import Sweep, render_table
from selfdebias.main import main
from selfdebias.report.table import Table, narrowed
from tests.jobs.sweeps.world import read, write_sweep

STRENGTHS = {3.0: 0.65, 6.0: 0.5}


@pytest.fixture(scope="module")
def few_jobs(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("few"), STRENGTHS, seeds=(1,))


def shown(source, rows) -> list[str]:
    sweep = Sweep(source, [row.group for row in rows], rows, "gender.fd_hard", ("kept_cosine", "gender.fd_hard"), [])
    return render_table(sweep).splitlines()


def row(strength: float, value: float, width: float | None = 0.05) -> Row:
    bounds = {"low": None, "high": None} if width is None else {"low": value - width, "high": value + width}
    arms = {
        "vanilla": {"gender": {"fd_hard": {"value": 0.4, "low": 0.3, "high": 0.5, "n": 8}}},
        "guided": {"gender": {"fd_hard": {"value": value, **bounds, "n": 8}}, "kept_cosine": {"value": 0.9}},
    }
    results = {"arms": arms, "prompts": {"text": "a cat", "attributes": ["gender"]}, "judge": {}}
    return Row(Group({"guidance.strength": str(strength)}, [], results), "guided")


def test_it_is_one_block_of_80_columns_with_the_numbers_that_matter_and_without_long_notes(few_jobs):
    source = read_source(few_jobs.path)
    lines = shown(source, rows_of(grouped(source.jobs, [])))
    heads = [line for line in lines if line.startswith("strength ")]
    assert len(heads) == 1 and {"N", "man", "gender", "mode_fd", "kept"} <= {*heads[0].split()}
    assert max(map(len, lines)) == 80 and len(lines) <= 25
    text = " ".join(lines)
    assert "config hashes" not in text and "judge:" not in text and "fd_hard: distance" not in text


def test_the_best_row_is_the_one_of_the_results_nearest_to_even(few_jobs):
    source = read_source(few_jobs.path)
    (line,) = [" ".join(best_in_words(rows_of(grouped(source.jobs, [])), "gender.fd_hard"))]
    found = read(few_jobs.root / "jobs" / "h1" / "results.json")["arms"]["guided"]["gender"]["fd_hard"]
    assert (
        line.startswith(f"best by gender.fd_hard: strength=6.0 with {found['value']:.3f} (") and "(vanilla 0." in line
    )


def test_a_best_row_says_what_is_not_told_apart_from_it():
    rows = [row(1, 0.1), row(2, 0.15), row(3, 0.3)]
    said = " ".join(best_in_words(rows, "gender.fd_hard"))
    assert "strength=1 with 0.100 [0.050, 0.150] (vanilla 0.400 [0.300, 0.500])" in " ".join(said.split())
    assert "the intervals of 1 of 2 other rows overlap with its own" in " ".join(said.split())
    alone = " ".join(best_in_words([row(1, 0.1), row(3, 0.3)], "gender.fd_hard"))
    assert "overlap" not in alone and "chance" not in alone
    assert "chance may have chosen it" in " ".join(
        best_in_words([row(1, 0.1, None), row(2, 0.2, None)], "gender.fd_hard")
    )
    assert best_in_words(rows[:1], "gender.fd_hard") == [] == best_in_words(rows, "tone.fd_hard")


def test_of_many_rows_the_best_are_shown_in_their_order_and_the_others_counted(few_jobs):
    rows = [row(place, 0.5 - 0.01 * place) for place in range(30)]
    lines = shown(read_source(few_jobs.path), rows)
    start = next(place for place, line in enumerate(lines) if line.startswith("strength"))
    assert [line.split()[0] for line in lines[start + 1 : start + 1 + ROWS]] == [str(it) for it in range(30 - ROWS, 30)]
    assert f"and {30 - ROWS} more rows, further from even, in table.md" in lines and len(lines) <= 25


def test_many_jobs_without_numbers_are_counted():
    assert few(["a"] * MISSING) == ["a"] * MISSING
    assert few(["a"] * (MISSING + 2)) == ["a"] * MISSING + ["and 2 more without numbers, in table.md"]


def test_columns_are_chosen_by_weight_and_stay_in_their_order():
    table = Table(["arm", "one", "two", "three (x)"], [["a", "1", "2", "3"]], footer=[["floor", "", "", "9"]])
    assert narrowed(table, ["three", "one"], [0], 23).columns == ["arm", "one", "three (x)"]
    assert narrowed(table, [], [0], 80).columns == table.columns
    assert narrowed(table, ["three"], [], 23).footer == [["floor", "", "9"]]


def test_the_number_of_jobs_is_said_first_and_nothing_where_one_is_refused(stand_ins, monkeypatch, capsys):
    sweep = ["-m", "generate.seed=1,2,3", "stages=[collect]", "logger=none"]
    assert main(["-m", "guidance.temperature=0.1,-1", "logger=none"]) == 2 and capsys.readouterr().out == ""
    assert main(sweep) == 0
    assert capsys.readouterr().out.startswith("starts: a sweep of 3 jobs over generate.seed\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(sweep) == 0
    assert capsys.readouterr().out.count("starts: a sweep of 3 jobs over generate.seed\n") == 1
