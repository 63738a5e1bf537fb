"""The end of a sweep in a terminal: one table of 80 columns, the best row, what is missing, and where all else is."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest

from selfdebias.config.compose import load
from selfdebias.jobs.sweeps.columns import Row, rows_of, table_of, verdicts_of
from selfdebias.jobs.sweeps.ending import (
    MISSING,
    ROWS,
    against_in_words,
    beside_in_words,
    best_in_words,
    few,
    verdicts_explained,
)
from selfdebias.jobs.sweeps.finished import read_source
from selfdebias.jobs.sweeps.page import render_sweep_page
from selfdebias.jobs.sweeps.pooling import Group, grouped
from selfdebias.jobs.sweeps.table import Sweep, render_table, verdicts, write_table
from selfdebias.main import main
from selfdebias.report.table import Table, narrowed
from selfdebias.report.wording import Notes
from tests.jobs.sweeps.world import write_sweep

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


def test_a_row_without_an_interval_is_not_said_to_show_no_difference():
    bare, same, fairer = row(1, 0.1, None), row(2, 0.4), row(3, 0.1)
    assert against_in_words([bare], "gender.fd_hard") == [
        "1 setting against vanilla, by gender.fd_hard: 1 without an interval, of which it cannot be told"
    ]
    (said,) = against_in_words([bare, same, fairer], "gender.fd_hard")
    assert said.endswith(
        "1 fairer, 0 less fair, 1 with no detectable difference, 1 without an interval, of which it cannot be told"
    )
    assert verdicts_of([bare, same, fairer], "gender.fd_hard") == ["?", "", "fairer"]
    (told,) = verdicts_explained([bare], "gender.fd_hard", [])
    assert "of none can it be told" in told and "so for all" not in told
    (told,) = verdicts_explained([bare, same, fairer], "gender.fd_hard", ["to vanilla"])
    assert told.endswith("an empty cell, ? where it cannot be told without an interval.")


def test_the_best_row_is_the_one_of_the_results_nearest_to_even(few_jobs):
    rows = [row(1, 0.1), row(3, 0.3), row(2, 0.25)]
    said = best_in_words(rows, "gender.fd_hard")
    assert said == "best by gender.fd_hard: strength=1 with 0.100 [0.050, 0.150] (vanilla 0.400 [0.300, 0.500])"
    assert best_in_words(rows[:1], "gender.fd_hard") == "" == best_in_words(rows, "tone.fd_hard")


def test_a_tie_has_no_best_row():
    rows = [row(1, 0.1), row(2, 0.15), row(3, 0.3)]
    some = "no row is best by gender.fd_hard: the intervals of 2 of 3 rows (strength=1; strength=2) overlap"
    assert best_in_words(rows, "gender.fd_hard").startswith(some)
    assert "of all 2 rows" in best_in_words(rows[:2], "gender.fd_hard")
    assert "1 of 2 rows have no interval" in best_in_words([row(1, 0.1, None), row(2, 0.9)], "gender.fd_hard")
    many = best_in_words([row(place, 0.1) for place in range(30)], "gender.fd_hard")
    assert "of all 30 rows overlap" in many and "best by" not in many.replace("is best by", "")


def with_age(it: Row, before: float, after: float, width: float) -> Row:
    results = it.group.results
    results["prompts"]["attributes"] = ["gender", "age"]
    for arm, value in (("vanilla", before), ("guided", after)):
        results["arms"][arm]["age"] = {"fd_hard": {"value": value, "low": value - width, "high": value + width, "n": 8}}
    return it


def test_what_the_measure_does_not_show_is_said_beside_it(few_jobs):
    rows = [with_age(row(1, 0.1), 0.29, 0.46, 0.05), with_age(row(2, 0.15), 0.29, 0.31, 0.05)]
    said = beside_in_words(rows, "gender.fd_hard")
    assert said == ["less even than vanilla: age at strength=1 (age.fd_hard 0.460, vanilla 0.290)"]
    assert said[0] in " ".join(" ".join(shown(read_source(few_jobs.path), rows)).split())
    unsure = [with_age(row(1, 0.1), 0.29, 0.46, 0.3), row(2, 0.1)]
    assert beside_in_words(unsure, "gender.fd_hard")[0].startswith(
        "perhaps less even than vanilla: age (age.fd_hard 0.460"
    )
    assert beside_in_words([with_age(row(1, 0.1), 0.29, 0.31, 0.3)], "gender.fd_hard") == []
    assert beside_in_words(rows, "age.fd_hard") == []  # gender became more even


def test_a_target_that_is_not_even_is_said_beside_a_measure_that_asks_for_even_shares():
    rows = [with_age(row(1, 0.1), 0.29, 0.46, 0.05)]
    rows[0].group.results["modes"] = {"target": [0.6, 0.4, 0.6, 0.4], "axes": [[0, 1], [2, 3]]}
    (said,) = beside_in_words(rows, "gender.fd_hard")
    assert said.startswith(
        "the target is 0.6, 0.4 for the two sides of an axis, not even shares: mode_fd is the distance"
    )
    assert "table.fairness=mode_fd" in said and "table.fairness" not in beside_in_words(rows, "mode_fd")[0]
    one = {"target": [0.5, 0.5, 0.75, 0.25], "axes": [[0, 1], [2, 3]], "balanced": [1]}
    rows[0].group.results["modes"] = one
    (said,) = beside_in_words(rows, "gender.fd_hard")
    assert said.startswith("the target is 0.75, 0.25 for the two sides of an axis")  # that of the axis that is balanced


@pytest.mark.parametrize(
    ("fairness", "title"), [("gender.deviation_ratio", "dev. ratio"), ("tone.deviation_ratio", "tone")]
)
def test_the_measure_that_rows_are_held_against_vanilla_by_is_shown(few_jobs, fairness, title):
    source = read_source(few_jobs.path)
    rows = rows_of(grouped(source.jobs, []))
    sweep = Sweep(source, [it.group for it in rows], rows, fairness, ("kept_cosine", fairness), [])
    head = next(it for it in render_table(sweep).splitlines() if it.startswith("strength "))
    assert title in head


def test_terminal_table_and_page_say_the_same_of_the_best_row(few_jobs, capsys):
    write_table(few_jobs.path, load([])["table"])
    texts = [
        capsys.readouterr().out,
        (few_jobs.path / "table.md").read_text(),
        (few_jobs.path / "index.html").read_text(),
    ]
    source = read_source(few_jobs.path)
    said = best_in_words(rows_of(grouped(source.jobs, [])), "gender.fd_hard")
    assert said and all(said[1:] in " ".join(re.sub(r"\\(.)", r"\1", text).split()) for text in texts)


def test_a_value_at_the_floor_has_no_star(few_jobs):
    near = row(1, 0.1)
    near.group.results["arms"]["guided"]["gender"]["fd_hard"] |= {
        "low": 0.0,
        "high": 0.6,
        "floor": 0.1,
        "at_floor": True,
    }
    lines = shown(read_source(few_jobs.path), [near, row(2, 0.2)])
    assert any("0.100~" in line for line in lines) and "*" not in " ".join(lines)
    assert any(line.startswith("~: its interval holds a fair sampler") for line in lines)


def test_a_sweep_of_trials_has_no_best_row_and_says_what_its_numbers_are_worth(few_jobs):
    source = replace(read_source(few_jobs.path), command="selfdebias -m debug=tiny guidance.strength=1,2")
    text = " ".join(" ".join(shown(source, [row(1, 0.1), row(2, 0.4)])).split())
    assert "the numbers mean nothing" in text and "best" not in text


def test_a_sweep_page_says_of_a_trial_what_the_terminal_says(few_jobs):
    source = replace(read_source(few_jobs.path), command="selfdebias -m debug=tiny guidance.strength=1,2")
    rows = [row(1, 0.1), row(2, 0.4)]
    groups = [it.group for it in rows]
    said = verdicts(Sweep(source, groups, rows, "gender.fd_hard", ("kept_cosine", "gender.fd_hard"), []))
    table = table_of(rows, "gender.fd_hard", Notes(), intervals=True)
    page = render_sweep_page(source, "a cat", rows, [table], [], None, said)
    assert ">debug=tiny checks that everything runs" in page and "mean nothing.<" in page
    assert "images in one column have the same seed, except in arms that choose their seeds." in page


def test_jobs_that_share_a_row_are_said_to_be_pooled(few_jobs, tmp_path):
    pooled = "Jobs that differ in generate.seed alone are pooled: one row of all their images."
    for jobs, wanted in ((few_jobs, False), (write_sweep(tmp_path, {3.0: 0.65}, seeds=(1, 2)), True)):
        source = read_source(jobs.path)
        groups = grouped(source.jobs, ["generate.seed"])
        sweep = Sweep(
            source, groups, rows_of(groups), "gender.fd_hard", ("kept_cosine", "gender.fd_hard"), ["generate.seed"]
        )
        assert (pooled in " ".join(render_table(sweep).split())) == wanted


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
