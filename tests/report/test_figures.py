"""Charts and pictures show the numbers that they were given."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from selfdebias.report.figures import (
    DARK,
    LIGHT,
    curve_figure,
    map_figure,
    p_hat_figure,
    principal_axes,
    to_png,
)
from selfdebias.report.pairs import FRAME, pair_picture, pair_sheet, within_budget
from selfdebias.report.share_figures import modes_figure, prompts_figure, shares_figure
from tests.report.example import CLASSES, example_results


@pytest.fixture(scope="module")
def results():
    return example_results(("vanilla", "guided", "random"))


@pytest.mark.parametrize("attribute", CLASSES)
def test_bars_are_the_shares_in_the_judges_order(results, attribute):
    (axes,) = shares_figure(results, attribute).axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == list(CLASSES[attribute])
    bars = [bar for container in axes.containers for bar in container if hasattr(bar, "get_height")]
    heights = [bar.get_height() for bar in bars]
    shares = [results["arms"][arm]["shares"][attribute] for arm in ("vanilla", "guided", "random")]
    assert heights == [share[name]["value"] for share in shares for name in names]
    lefts = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars)
    assert all(right <= left for (_, right), (left, _) in pairwise(lefts))


def test_intervals_end_at_low_and_high(results):
    (axes,) = shares_figure(results, "gender").axes
    ends = {tuple(np.round(segment[:, 1], 6)) for lines in axes.collections for segment in _segments(lines)}
    for arm in results["arms"].values():
        for share in arm["shares"]["gender"].values():
            assert (round(share["low"], 6), round(share["high"], 6)) in ends


def _segments(collection):
    return collection.get_segments() if hasattr(collection, "get_segments") else []


def test_the_target_line_and_the_floor_band_stand_where_the_floor_says(results):
    (axes,) = shares_figure(results, "tone").axes
    target = next(line for line in axes.get_lines() if line.get_label().startswith("target"))
    assert set(target.get_ydata()) == {0.2}
    band = next(patch for patch in axes.patches if patch.get_label() == "sampling floor")
    floor = max(arm["tone"]["fd_hard"]["floor"] for arm in results["arms"].values())
    assert band.get_y() == pytest.approx(0.2 - floor / math.sqrt(5))
    assert band.get_height() == pytest.approx(2 * floor / math.sqrt(5))


def test_a_null_share_has_no_bar(results):
    arm = {**results["arms"]["vanilla"], "shares": {"gender": {"man": {"value": None, "reason": "x"}, "woman": 0.5}}}
    (axes,) = shares_figure({"arms": {"vanilla": arm}}, "gender").axes
    bars = [bar for container in axes.containers for bar in container if hasattr(bar, "get_height")]
    assert [bar.get_height() for bar in bars] == [0.5]


def test_modes_have_their_shares_and_each_its_own_target(results):
    found = {**results, "modes": {**results["modes"], "target": [0.25, 0.75]}}
    (axes,) = modes_figure(found).axes
    heights = [bar.get_height() for container in axes.containers for bar in container if hasattr(bar, "get_height")]
    shares = [results["arms"][arm]["mode_shares"] for arm in ("vanilla", "guided", "random")]
    assert heights == [share[mode]["value"] for share in shares for mode in "01"]
    levels = {segment[0][1] for lines in axes.collections for segment in _segments(lines) if np.ptp(segment[:, 1]) == 0}
    assert {0.25, 0.75} <= levels


def test_of_axes_it_is_the_second_side_of_each():
    sides = {str(side): {"value": share} for side, share in enumerate((0.7, 0.3, 0.6, 0.4))}
    found = {"arms": {"vanilla": {"mode_shares": sides}}, "modes": {"axes": [{}, {}], "target": [0.5] * 4}}
    (axes,) = modes_figure(found).axes
    assert [bar.get_height() for container in axes.containers for bar in container] == [0.3, 0.4]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["axis 0", "axis 1"]


def test_each_prompt_has_a_mark_for_each_arm(results):
    found = {"rows": {"cook": results, "nurse": results}, "prompts": {"attributes": list(CLASSES)}}
    (axes,) = prompts_figure(found, "gender").axes
    marks = {line.get_label(): list(line.get_xdata()) for line in axes.get_lines()}
    for arm in ("vanilla", "guided", "random"):
        assert marks[arm] == [results["arms"][arm]["shares"]["gender"]["man"]["value"]] * 2
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cook", "nurse"]
    (axes,) = prompts_figure(found, "tone").axes  # of more classes than two the largest deviation
    marks = {line.get_label(): list(line.get_xdata()) for line in axes.get_lines()}
    assert marks["guided"] == [results["arms"]["guided"]["tone"]["deviation_ratio"]["value"]] * 2


def test_p_hat_has_a_line_for_each_mode_and_a_line_for_each_target():
    p_hat = np.random.default_rng(0).dirichlet([1, 1, 1], size=(4, 10))
    (axes,) = p_hat_figure(p_hat, [0.5, 0.25, 0.25], ["mode 0", "mode 1", "mode 2"], "guided").axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    for mode in range(3):
        np.testing.assert_allclose(lines[f"mode {mode}"].get_ydata(), p_hat[:, :, mode].mean(axis=0))
    levels = [set(line.get_ydata()) for line in axes.get_lines() if len(line.get_xdata()) == 2]
    assert levels == [{0.25}, {0.5}]
    assert len({lines[f"mode {mode}"].get_linestyle() for mode in range(3)}) == 3  # not by colour alone


def test_p_hat_of_one_batch_has_no_band():
    p_hat = np.random.default_rng(0).dirichlet([1, 1], size=(2, 10))
    one, two = (p_hat_figure(p_hat[:batches], [0.5, 0.5], ["mode 0", "mode 1"], "guided").axes[0] for batches in (1, 2))
    assert one.get_ylabel() == "projected share" and not one.collections
    assert two.get_ylabel() == "projected share (band: all batches)" and len(two.collections) == 2


def test_a_curve_leaves_out_what_is_not_finite():
    (axes,) = curve_figure("loss", [(0, 1.0), (1, math.nan), (2, 0.5)]).axes
    np.testing.assert_array_equal(axes.get_lines()[0].get_xydata(), [[0, 1.0], [2, 0.5]])


def test_the_map_counts_each_mode_and_keeps_the_common_limits():
    points, modes = np.random.default_rng(0).normal(size=(10, 2)), np.array([0] * 6 + [2] * 4)
    limits = np.array([[-10.0, -20.0], [10.0, 20.0]])
    (axes,) = map_figure(points, modes, limits, "vanilla").axes
    assert [len(it.get_offsets()) for it in axes.collections] == [6, 4]
    assert axes.get_legend_handles_labels()[1] == ["mode 0: 6", "mode 2: 4"]
    assert axes.get_xlim()[1] >= 10
    assert axes.get_ylim()[1] >= 20


def test_principal_axes_agree_with_the_singular_vectors():
    e = np.random.default_rng(0).normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1]
    mean, axes = principal_axes(e)
    _, _, rows = np.linalg.svd(e - e.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs((axes * rows[:2]).sum(axis=1)), 1)
    np.testing.assert_allclose(mean, e.mean(axis=0))


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_png_has_the_themes_paper(results, theme):
    picture = Image.open(io.BytesIO(to_png(shares_figure(results, "gender", theme)))).convert("RGB")
    assert picture.getpixel((1, 1)) == tuple(round(255 * part) for part in to_rgb(theme.paper))


def test_a_pair_has_vanilla_above_and_a_frame_only_where_the_mode_changed():
    red, blue = torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)
    red[0], blue[2] = 1, 1
    for changed in (True, False):
        tile = pair_picture(red, blue, changed)
        assert tile.size == (32 + 6, 64 + 9)
        assert tile.getpixel((19, 19)) == (255, 0, 0)
        assert tile.getpixel((19, 54)) == (0, 0, 255)
        assert (tile.getpixel((0, 0)) == FRAME) == changed


def test_a_sheet_holds_every_tile_in_order():
    tiles = [Image.new("RGB", (10, 20), (place, 0, 0)) for place in range(5)]
    sheet = pair_sheet(tiles, columns=3, gap=2)
    assert sheet.size == (2 + 3 * 12, 2 + 2 * 22)
    assert [sheet.getpixel((7 + 12 * (i % 3), 12 + 22 * (i // 3)))[0] for i in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="`tiles` and `columns` must be at least 1, got 0 and 3"):
        pair_sheet([], 3)


def test_pictures_shrink_alike_to_the_budget_and_only_if_they_must():
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    pictures = {"a": Image.fromarray(noise), "b": Image.fromarray(noise).resize((256, 128))}
    free = within_budget(pictures)
    assert [Image.open(io.BytesIO(file)).size for file in free.values()] == [(128, 128), (256, 128)]
    tight = within_budget(pictures, budget=30_000)
    assert sum(map(len, tight.values())) <= 30_000
    (a, b) = (Image.open(io.BytesIO(file)) for file in tight.values())
    assert a.height == b.height > 20
