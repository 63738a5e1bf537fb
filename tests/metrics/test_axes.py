"""Entries of axes: each axis by itself, held against its own target and against what is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfdebias.metrics.comparison import Sets
from selfdebias.metrics.composition import composition, raked
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.modes import cells_in, mode_entries, summarise_modes
from selfdebias.modes.placement import AxisSides, cells_of
from tests.metrics.test_summary import arm

RESAMPLING = BlockBootstrap(200)
MODES = {
    "axes": [{"recurrence": 0.9}, {"recurrence": 0.7}],
    "target": [0.5, 0.5, 0.75, 0.25],
    "k": 4,
    "sizes": [1, 1, 1, 1],
}


def of_cells(name: str, cells: np.ndarray, tone: np.ndarray):
    """Images of given cells, whose tone is given, in blocks of 32."""
    n = len(cells)
    data = arm(name, n // 2, n=n)
    p = np.eye(3)[tone] * 0.97 + 0.01
    return replace(
        data, modes=cells.astype(np.int64), blocks=np.arange(n) // 32, probabilities={**data.probabilities, "tone": p}
    )


def drawn(n: int, first: float, second: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells with these shares of side 1 of two axes that depend on each other, and tones that depend on both."""
    rng = np.random.default_rng(seed)
    a = rng.random(n) < first
    b = rng.random(n) < np.where(a, second / 2, second)
    cells = cells_of(np.stack([a, b], 1).astype(np.int64))
    return cells, (a.astype(int) + b.astype(int))


def test_each_axis_is_held_against_its_own_target():
    cells = np.repeat([0, 1, 2, 3], [160, 80, 40, 40])  # side 1: 120 of 320 on axis 0, 80 on axis 1
    found = mode_entries(of_cells("guided", cells, np.zeros(320, int)), MODES, RESAMPLING)
    first, second = found["axes"]
    assert first["share"].value == pytest.approx(0.375) and first["fd"].value == pytest.approx(np.sqrt(2) * 0.125)
    assert second["share"].value == pytest.approx(0.25) and second["fd"].value == pytest.approx(0) == second["kl"].value
    assert {key: entry.value for key, entry in found["mode_shares"].items()} == pytest.approx(
        {"0": 0.625, "1": 0.375, "2": 0.75, "3": 0.25}
    )
    assert found["mode_fd"].value is None and "one by one" in found["mode_fd"].reason
    assert cells_in(MODES) == 4 and cells_in(None) == 0


def test_sides_are_held_against_what_is_judged():
    cells, _ = drawn(400, 0.3, 0.4, 0)
    reference = of_cells("reference", cells, np.where(cells & 1, 2, 0))
    modes = {**MODES, "labels": {str(i): int(cell) for i, cell in zip(reference.ids, cells, strict=True)}}
    first, second = summarise_modes(reference, modes, ["tone"])["axes"]
    assert "auc" not in first
    e = np.eye(reference.e.shape[1])[:2]
    places = AxisSides(np.zeros(len(e.T)), e)  # an axis that is a coordinate; it has no direction
    told = np.where(cells & 1, -1.0, 1.0) + 0.1 * np.random.default_rng(0).standard_normal(400)
    other = np.random.default_rng(1).standard_normal(400)
    moved = replace(reference, e=np.stack([told, other], 1) @ e)
    auc, chance = (it["auc"]["tone"] for it in summarise_modes(moved, {**modes, "places": places}, ["tone"])["axes"])
    assert auc == pytest.approx(1) and 0.5 <= chance < 0.6
    assert first["ari"]["tone"] == pytest.approx(1) and first["homogeneity"]["tone"] == pytest.approx(1)
    assert abs(second["ari"]["tone"]) < 0.3 and first["recurrence"] == 0.9
    every = np.repeat([0, 1, 2, 3], 100)
    three = of_cells(
        "reference", every, np.where(every & 1, 1 + (every >> 1), 0)
    )  # a half of the images, and two quarters
    own = {**modes, "labels": {str(i): int(cell) for i, cell in zip(three.ids, every, strict=True)}}
    told, half = summarise_modes(three, own, ["tone"])["axes"]  # 1 of the 1.5 bits that tones have, and a half
    assert [it["homogeneity"]["tone"] for it in (told, half)] == pytest.approx([2 / 3, 1 / 3])
    one, _ = summarise_modes(of_cells("reference", every, 0 * every), own, ["tone"])["axes"]
    assert one["homogeneity"]["tone"].reason == "the reference images are of one class"


def test_composition_weights_the_sides_of_each_axis_even_where_a_cell_is_not_there():
    """Vanilla images weighted so that both axes have the arm's shares show the tones of a population that has them."""
    cells, tone = drawn(4000, 0.2, 0.3, 1)
    vanilla = of_cells("vanilla", cells, tone)
    want = np.array([[0.25, 0.25, 0.25, 0.25]])
    have = np.bincount(cells, minlength=4)[None].astype(float)
    q = raked(have, want, 2)[0]
    assert q.sum() == pytest.approx(1) and q[1] + q[3] == pytest.approx(0.5) and q[2] + q[3] == pytest.approx(0.5)
    odds = q[0] * q[3] / (q[1] * q[2])
    assert odds == pytest.approx(have[0, 0] * have[0, 3] / (have[0, 1] * have[0, 2]))  # their dependence stays
    few = vanilla.rows(cells != 3)
    guided = of_cells("guided", np.tile([0, 1, 2, 3], 80), np.zeros(320, int))
    found = composition(Sets(guided, few, None, resampling=RESAMPLING, n_modes=4, axes=2), ["tone"])["tone"]
    assert found["predicted_fd_hard"].value is not None
    without = composition(Sets(guided, few, None, resampling=RESAMPLING, n_modes=4), ["tone"])["tone"]
    assert without["predicted_fd_hard"].value is None  # of cells nothing can be said


def test_a_side_that_is_nowhere_in_vanilla_cannot_be_weighted():
    assert np.isnan(raked(np.array([[5.0, 0.0]]), np.array([[1.0, 1.0]]), 1)).any()
