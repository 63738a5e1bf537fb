"""Tables by features, pairs and composition: their numbers, what verdicts say of them, and results of before."""

from __future__ import annotations

import copy
import json

import pytest

from experiments.columns import USUAL, header, row
from experiments.pooled import RESULTS
from selfdebias.jobs.sweeps.columns import Row
from selfdebias.jobs.sweeps.pooling import Group
from selfdebias.metrics.distances import KID
from selfdebias.metrics.verdicts import holm
from selfdebias.report.comparisons import (
    AGREEMENT,
    COMPOSITION,
    DIFFERENCES,
    QUALITY,
    grids,
    grids_in_words,
    quality_grid,
    verdicts_in_words,
)
from selfdebias.report.job_table import markdown_table, sections
from selfdebias.report.measures import title_of
from selfdebias.report.wording import Notes, columns_of, number
from tests.report.as_text import render_table
from tests.report.example import example_results

NEW = ("quality", "paired_agreement", "composition")


@pytest.fixture(scope="module")
def results():
    return example_results(("vanilla", "guided", "random"))


def of_before(results):
    """The same job as an earlier version left it."""
    old = copy.deepcopy(results)
    old["features"] = None
    del old["spaces"]
    for arm in old["arms"].values():
        arm["fid"] = arm.pop("frechet_distance")
        for name in NEW:
            del arm[name]
        arm.pop("difference", None)
    return json.loads(json.dumps(old, sort_keys=True))


def test_quality_has_a_row_for_each_space_with_the_numbers_of_the_results(results):
    grid = quality_grid(results, Notes())
    assert [line[0] for line in grid.rows[:3]] == ["guided, encoder", "guided, judge", "guided, pixels"]
    for line in grid.rows[:3]:
        entries = results["arms"]["guided"]["quality"][line[0].split(", ")[1]]
        ratio, kid, kept = (entries[key] for key in ("turned_precision_ratio", "kid", "kept"))
        assert line[1] == f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}] (N = {ratio['n']})"
        assert line[3].startswith(f"{kid['value']:.3g} [") and line[3].endswith(f"(floor {kid['floor']:.3g})")
        assert line[4].endswith(f"(floor {kept['floor']:.3f})")
        assert line[5] == f"{entries['vendi']['value']:.3g} (floor {entries['vendi']['floor']:.3g})"


def test_text_and_markdown_show_all_three_and_say_what_they_are(results):
    for text in (render_table(results), markdown_table(results)):
        flat = " ".join(text.split())
        assert QUALITY.lower() in flat.lower() and "encoder: emoji\\_clip, 8-d" in flat.replace(
            "emoji_clip", "emoji\\_clip"
        )
        assert (
            "judge: EmojiJudge, 16-d" in flat
            and f"{AGREEMENT}: share of pairs" in flat
            and "any method that mixes" in flat
        )
    pair = results["arms"]["guided"]["paired_agreement"]["tone"]
    line = next(it for it in markdown_table(results).splitlines() if it.startswith("| guided, tone") and "(N = " in it)
    assert f"(N = {pair['switched']['n']})" in line and f"(N = {pair['unswitched']['n']})" in line


@pytest.mark.parametrize("width", [40, 80])
def test_they_fit_the_terminal(results, width):
    renamed = copy.deepcopy(results)
    renamed["arms"]["an arm whose name is longer than a column"] = renamed["arms"].pop("random")
    assert max(map(columns_of, render_table(renamed, width).splitlines())) == width


def test_features_that_say_nothing_new_are_no_table(results):
    bare = copy.deepcopy(results)
    for arm in bare["arms"].values():
        arm["quality"] = {"encoder": arm["quality"]["encoder"]}
    assert [grid.title for grid in grids(bare, Notes())] == [DIFFERENCES, AGREEMENT, COMPOSITION]


def test_less_fair_says_whether_reweighting_the_modes_predicts_it(results):
    told = copy.deepcopy(results)
    told["verdicts"]["guided"] |= {"age": "less fair", "gender": "fairer"}
    composition = told["arms"]["guided"]["composition"]
    composition["age"]["predicted_fd_hard"] = {"value": 0.488, "low": 0.448, "high": 0.528}

    def said(value, low, high):
        composition["age"]["measured_fd_hard"] = {"value": value, "low": low, "high": high}
        return next(line for line in verdicts_in_words(told) if line.startswith("guided"))

    within = "age less fair, as reweighting the modes predicts (0.488 [0.448, 0.528]): composition, not damage"
    assert within in said(0.465, 0.435, 0.494) and "gender fairer;" in said(0.465, 0.435, 0.494)
    assert "age less fair, beyond what reweighting the modes predicts (0.488" in said(0.6, 0.56, 0.64)
    assert "age less fair, no detectable difference from what reweighting" in said(0.54, 0.5, 0.58)
    assert "and yet fairer than reweighting the modes predicts" in said(0.40, 0.36, 0.44)
    del told["arms"]["guided"]["composition"]
    assert "age less fair; modes" in next(line for line in verdicts_in_words(told) if line.startswith("guided"))


def test_results_of_before_are_shown_without_them_and_their_fid_by_its_features(results):
    old = of_before(results)
    text = render_table(old)
    assert "Frechet distance (encoder, 8-d)" in text and QUALITY.upper() not in text and "not computed" not in text
    assert f"{results['arms']['guided']['frechet_distance']['value']:.3g} (floor" in text
    assert "FID is the name of Inception's" in " ".join(text.split())
    assert grids(old, Notes()) == []


def test_fid_is_called_so_where_inception_made_the_features(results):
    own = of_before(results)
    own["features"] = {"name": "inception-v3-2015-12-05", "dim": 2048, "resize": "bilinear"}
    titles = [title for table in sections(own, Notes()) for title in table.columns]
    assert "FID" in titles and "KID" in titles and not [title for title in titles if "Frechet" in title]
    text = " ".join(render_table(own).split())
    assert "FID, KID, precision, recall, Vendi score: against" in text and "no figure here is one" not in text


def test_sweeps_read_the_distance_under_its_new_and_its_old_name(results):
    for one in (results, of_before(results)):
        found = {name: Row(Group({}, [], one), "guided").measure(name).value for name in ("fid", "frechet_distance")}
        assert set(found.values()) == {results["arms"]["guided"]["frechet_distance"]["value"]}


def test_committed_results_are_read(results):
    committed = json.loads((RESULTS / "person_targets.json").read_text())
    one = next(iter(committed.values()))
    assert title_of(KID, one) == "KID (encoder, 64-d)"
    assert row("guided", one, "guided") in (RESULTS / "person_targets.md").read_text().replace(
        next(iter(committed)), "guided", 1
    )
    assert header(USUAL, {"guided": one}) in (RESULTS / "person_targets.md").read_text()
    assert row("guided", results, "guided").count("|") == header(USUAL, {"guided": results}).partition("\n")[0].count(
        "|"
    )
    assert "Frechet distance (emoji_clip, 8-d) | KID (emoji_clip, 8-d)" in header(USUAL, {"guided": results})
    assert "FID | KID" in header(
        USUAL, {"new": results, "before": one}
    )  # rows of before are kept in a table beside new ones


def test_differences_have_a_row_for_each_verdict_with_its_p_value_after_holm(results):
    arms = results["arms"]
    (grid,) = [it for it in grids(results, Notes()) if it.title == DIFFERENCES]
    against = [line for line in grid.rows if " - vanilla, " in line[0]]
    p = {}
    for line in against:
        arm, name = line[0].replace(" - vanilla, ", "/").split("/")
        apart = arms[arm]["difference"]["vanilla"]
        entry = apart["mode_fd"] if name == "modes" else apart[name]["fd_hard"]
        assert line[1] == f"{number(entry['value'])} [{number(entry['low'])}, {number(entry['high'])}]"
        p[line[0]] = entry["p"]
    expected = dict(zip(p, holm([*p.values()]), strict=True))
    assert {line[0]: line[2] for line in against} == {name: number(it, ".2g") for name, it in expected.items()}
    assert len(against) == 4 * (len(arms) - 1)
    said = next(line for line in verdicts_in_words(results) if line.startswith("guided"))
    assert f"Holm's correction over {len(against)} of them" in said
    assert any("p (Holm): corrected" in line for line in grids_in_words(results, [DIFFERENCES]))
