"""Axes in the table and on the page: both sides of each, their shares, and how they agree with what is judged."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from selfdebias.jobs.model_card import model_card
from selfdebias.report.comparisons import AXES, axes_grid, grids_in_words, verdicts_in_short, verdicts_in_words
from selfdebias.report.explanations import modes_in_words
from selfdebias.report.gallery import map_charts, p_hat_charts
from selfdebias.report.job_table import headline
from selfdebias.report.mode_rows import agreement_rows, found_in_words, mode_rows, target_of
from selfdebias.report.wording import Notes


def entry(value: float) -> dict:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 64}


def results() -> dict:
    arm = {
        "axes": [{"fd": entry(0.3), "share": entry(0.25)}, {"fd": entry(0.1), "share": entry(0.45)}],
        "mode_shares": {str(side): entry(share) for side, share in enumerate((0.75, 0.25, 0.55, 0.45))},
        "gender": {"fd_hard": entry(0.2)},
        "shares": {"gender": {"man": entry(0.7), "woman": entry(0.3)}},
    }
    axes = [
        {"ari": {"gender": ari}, "homogeneity": {"gender": ari / 2}, "auc": {"gender": 0.96}, "recurrence": 0.9}
        for ari in (0.7, 0.0)
    ]
    return {
        "prompts": {"text": "a person", "attributes": ["gender"]},
        "seeds": {"collect": 0, "generate": 1},
        "arms": {"vanilla": arm, "guided": arm},
        "modes": {"k": 4, "sizes": [30, 10, 22, 18], "axes": axes, "target": [0.5] * 4},
        "spaces": {"encoder": {"name": "emoji_clip", "told": "captions of the drawings, and nothing else", "dim": 64}},
    }


def test_the_headline_counts_axes_and_each_image_once():
    own = results()
    assert "2 axes found on 40 other images (collect seed 0)" in headline(own)
    own["modes"]["carried"] = True
    assert "2 axes transferred from other prompts and placed in 40 other images (collect seed 0)" in headline(own)


def test_each_axis_has_a_row_in_each_arm():
    grid = axes_grid(results(), Notes())
    assert [row[0] for row in grid.rows] == ["vanilla, axis 0", "vanilla, axis 1", "guided, axis 0", "guided, axis 1"]
    assert grid.rows[0][1:] == ["0.300 [0.200, 0.400]", "0.250 [0.150, 0.350]"]
    assert "side 1 being the smaller one" in " ".join(grids_in_words(results(), [AXES]))
    assert axes_grid({**results(), "arms": {"vanilla": {}}}, Notes()).rows == []


def test_an_axis_that_was_left_alone_is_called_so():
    found = results()
    found["modes"]["balanced"] = [1]
    names = [row[0] for row in axes_grid(found, Notes()).rows]
    assert names[:2] == ["vanilla, axis 0, left alone", "vanilla, axis 1"]
    assert target_of(found["modes"]) == "axis 1: 0.50 / 0.50; axes left alone: 0"


def test_an_axis_that_came_out_worse_is_called_so():
    found = {
        **results(),
        "verdicts": {"guided": {"gender": "not told apart", "axis 0": "fairer", "axis 1": "less fair"}},
    }
    (line,) = verdicts_in_words(found)
    assert "gender no detectable difference; axis 0 fairer; axis 1 less fair" in line
    found["verdicts"]["guided"]["axis 1"] = None
    found["arms"]["vanilla"]["axes"][1]["fd"] = {"value": 0.1, "low": None, "reason": "no interval: one batch"}
    assert "axis 1: cannot be told (one batch)" in verdicts_in_words(found)[0]


def test_the_verdict_above_the_page_is_one_sentence_without_axes_that_were_left_alone():
    told = {"gender": "not told apart", "axis 0": "fairer", "axis 1": "less fair", "axis 2": None}
    found = {**results(), "verdicts": {"guided": told}}
    found["modes"] = {**found["modes"], "axes": [{}] * 3, "balanced": [0, 2]}
    (line,) = verdicts_in_short(found)
    assert (
        line
        == "guided against vanilla, by fd: fairer in axis 0; no detectable difference in gender; cannot be told in axis 2."
    )
    del found["modes"]["balanced"]
    assert "less fair in axis 1" in verdicts_in_short(found)[0]


def test_both_sides_of_an_axis_stand_on_the_page():
    found = {"sizes": [30, 10, 22, 18], "words": [[]] * 4, "labels": {str(i): 0 for i in range(40)}, "axes": [{}, {}]}
    rows = mode_rows(SimpleNamespace(found=found, results=results()), Notes())
    assert [row["name"] for row in rows] == ["Axis 0, side 0", "Axis 0, side 1", "Axis 1, side 0", "Axis 1, side 1"]
    assert [row["share"] for row in rows] == ["0.75", "0.25", "0.55", "0.45"]
    assert "one of two sides of every axis" in found_in_words(found)
    assert "at each timestep" in found_in_words({"space": "projected"}) and "embeddings" in found_in_words(
        {"space": "image"}
    )


def test_each_axis_is_held_against_each_attribute():
    rows = agreement_rows(results(), Notes())
    assert [name for name, *_ in rows] == ["gender, axis 0", "gender, axis 1"] and rows[0][1:] == (
        "0.350",
        "0.700",
        "0.960",
    )


def test_classes_of_a_judge_are_not_called_found():
    assert "told, and not found" in found_in_words({"classes": ["man", "woman"], "space": "image"})
    assert "found without a label" in found_in_words({"space": "image"})


def test_what_the_encoder_was_told_is_said_where_it_is_known():
    (line,) = modes_in_words(results())
    assert line == (
        "The axes were found with the encoder emoji_clip, which was told captions of the drawings, and nothing else."
    )
    assert modes_in_words({**results(), "spaces": {}}) == [] == modes_in_words({**results(), "modes": {"value": None}})


def test_the_card_says_what_the_encoder_was_told():
    facts = {
        "model": "a/b", "prompts": ["a person"], "n_images": 8, "call": {}, "encoder": "clip", "told": "captions of images",
        "modes": {"k": 2, "sizes": [4, 4], "silhouette": 0.5, "words": []}, "projector_cosine": 0.9, "guidance": {},
        "schedule": {},
    }  # fmt: skip
    assert "| which was told | captions of images |" in model_card(facts)
    assert "which was told" not in model_card({**facts, "told": ""})
    assert "**A trial. debug=tiny checks that everything runs" in model_card({**facts, "trial": "debug=tiny"})
    assert "trial" not in model_card(facts)
    assert "threshold" not in model_card(facts)
    assert "| threshold between the sides | each prompt's own |" in model_card({**facts, "threshold": "prompt"})
    three = {"k": 3, "sizes": [4, 4, 4], "silhouette": 0.5, "words": []}
    assert "| none, as there are 3 modes; each prompt's own mean |" in model_card(
        {**facts, "threshold": "prompt", "modes": three}
    )


def test_a_map_is_by_the_sides_of_the_least_even_axis_and_the_steering_chart_has_a_line_for_each_axis():
    arm = SimpleNamespace(e=np.eye(4, 3), modes=dict(enumerate([0, 1, 2, 3])), p_hat=np.full((1, 2, 4), 0.5))
    found = {"sizes": [22, 18, 30, 10], "axes": [{}, {}], "target": [0.5] * 4}
    material = SimpleNamespace(arms={"guided": arm}, baseline="guided", found=found)
    (embeddings,), (steering,) = map_charts(material), p_hat_charts(material)
    assert embeddings.alt == "Map of the 4 embeddings of arm guided by the sides of axis 1; images: 2, 2."
    assert steering.alt.startswith(
        "Projected share of side 0 of each axis, arm guided, over 2 guided steps: 0.50, 0.50 at"
    )
