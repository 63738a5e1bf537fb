"""Axes: planted attributes come back, each by itself; a partition of the same vectors finds none of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from selfdebias.modes import FactorialAxes, KMeansModes
from selfdebias.modes.axes import fit_factors, mean_log_likelihood, pairwise_ari, posteriors
from selfdebias.modes.bank import AxesBank, load_bank
from selfdebias.modes.bank_fit import fit_axes_bank
from selfdebias.modes.placement import cells_of, sides_of
from selfdebias.modes.semantics import calibrated

QUICK = {"factors": (3, 4), "halves": 3, "restarts": 4}


def planted(n: int = 400, shares: tuple[float, ...] = (0.3, 0.5, 0.4), spread: float = 0.15, seed: int = 0):
    """Unit vectors (n, 16) that are sums of orthogonal directions which are there or not; and the sides (n, 3)."""
    rng = np.random.default_rng(seed)
    sides = (rng.random((n, len(shares))) < shares).astype(int)
    X = 2 * np.eye(16)[-1] + sides @ np.eye(16)[: len(shares)] + spread * rng.standard_normal((n, 16))
    return X / np.linalg.norm(X, axis=1, keepdims=True), sides


def matched(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """The best adjusted Rand index with an axis for each planted attribute."""
    return [max((adjusted_rand_score(t, side) for side in found.T), default=0.0) for t in truth.T]


def test_planted_attributes_are_found_at_once_and_a_partition_finds_none_of_them():
    X, sides = planted()
    before = X.copy()
    axes = FactorialAxes(**QUICK).fit(X)
    assert axes.sides_.shape == (400, 3) and min(matched(axes.sides_, sides)) > 0.9
    assert np.array_equal(X, before) and np.array_equal(axes.predict(X), axes.sides_)
    labels = KMeansModes(k=2, random_state=0).fit(X).labels_
    assert sorted(matched(labels[:, None], sides))[1] < 0.2  # two clusters are one of the attributes at the most


def test_coordinates_are_0_and_1_on_the_two_sides_and_do_not_depend_on_the_other_axes():
    X, _ = planted(spread=0.08)
    axes = FactorialAxes(**QUICK).fit(X)
    u = axes.coordinates(X)
    for a in range(3):
        for s in (0, 1):
            assert u[axes.sides_[:, a] == s, a].mean() == pytest.approx(s, abs=0.05)
        others = [b for b in range(3) if b != a]
        for b in others:
            rows = axes.sides_[:, a] == 0
            means = [u[rows & (axes.sides_[:, b] == s), a].mean() for s in (0, 1)]
            assert abs(means[0] - means[1]) < 0.1


def test_correlated_attributes_are_told_apart():
    """Where one attribute is rarer among those that have the other, the sides of each are still its own."""
    rng = np.random.default_rng(3)
    first = rng.random(500) < 0.3
    second = rng.random(500) < np.where(first, 0.1, 0.45)
    X = 2 * np.eye(16)[-1] + np.stack([first, second], 1) @ np.eye(16)[:2] + 0.12 * rng.standard_normal((500, 16))
    axes = FactorialAxes(**QUICK).fit(X / np.linalg.norm(X, axis=1, keepdims=True))
    assert min(matched(axes.sides_, np.stack([first, second], 1))) > 0.85


def test_side_0_is_the_larger_one_and_the_seed_decides():
    X, _ = planted(shares=(0.7, 0.5, 0.6))
    first, again = FactorialAxes(**QUICK).fit(X), FactorialAxes(**QUICK).fit(X)
    assert (first.sides_.mean(0) <= 0.5).all() and np.array_equal(first.sides_, again.sides_)
    assert (np.diff(first.recurrence_) <= 0).all() and ((first.agreement_ > 0.5) & (first.agreement_ <= 1)).all()


def test_a_round_cloud_has_no_axis():
    rng = np.random.default_rng(0)
    X = np.eye(16)[0] + 0.1 * rng.standard_normal((400, 16))
    axes = FactorialAxes(**QUICK).fit(X / np.linalg.norm(X, axis=1, keepdims=True))
    assert axes.sides_.shape == (400, 0) and axes.duals_.shape == (0, 16)


def test_hyper_parameters_are_kept_and_checked():
    values = FactorialAxes().get_params()
    assert clone(FactorialAxes(halves=3)).get_params() == {**values, "halves": 3}
    X, _ = planted()
    for name, value, words in [
        ("factors", [], r"whole numbers in \[1, 8\], got \[\]"), ("factors", [9], r"got \[9\]"), ("factors", [2.0], "got"),
        ("variance", 0, "got 0"), ("recurrence", 1.5, "got 1.5"), ("agreement", 1.0, "got 1.0"),
        ("halves", 1, "at least 2, got 1"), ("restarts", 0, "at least 1, got 0"), ("space", "residual", "got 'residual'"),
        ("halves", None, "got null"), ("variance", None, "got null"), ("agreement", "0.5", "got '0.5'"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=f"`clustering.{name}` must be .*{words}"):
            FactorialAxes(**{name: value}).fit(X)
    with pytest.raises(ValueError, match="`collect.n_images` must be at least 256, four for each combination.*got 200"):
        FactorialAxes().fit(X[:200])
    with pytest.raises(ValueError, match="must hold different vectors"):
        FactorialAxes(**QUICK).fit(np.ones((80, 4)) / 2)


def test_factors_explain_the_planted_shares_and_noise():
    X, sides = planted(n=600, spread=0.1)
    tried = [fit_factors(X, 3, np.random.default_rng(seed)) for seed in range(6)]
    best = max(tried, key=lambda it: it.likelihood)
    p = posteriors(X, best)
    assert p.shape == (600, 3) and min(matched(p > 0.5, sides)) > 0.9
    assert sorted(np.minimum(best.shares, 1 - best.shares)) == pytest.approx(sorted([0.3, 0.5, 0.4]), abs=0.07)
    assert best.variance < 0.005


def test_vectors_that_were_not_fitted_are_likeliest_with_the_planted_number_of_factors():
    (X, _), (other, _) = planted(spread=0.1), planted(spread=0.1, seed=1)
    fitted = [
        max((fit_factors(X, m, np.random.default_rng(seed)) for seed in range(4)), key=lambda it: it.likelihood)
        for m in (1, 2, 3)
    ]
    held_out = [mean_log_likelihood(other, it) for it in fitted]
    assert held_out[0] < held_out[1] < held_out[2]
    assert [mean_log_likelihood(X, it) for it in fitted] == [it.likelihood for it in fitted]
    alone = [mean_log_likelihood(row, fitted[2]) for row in other[:50, None]]
    assert np.mean(alone) == pytest.approx(mean_log_likelihood(other[:50], fitted[2]))


def test_a_rare_side_comes_back_with_more_factors_alone():
    X, sides = planted(n=800, shares=(0.5, 0.45, 0.5, 0.12), spread=0.15)
    few, many = (FactorialAxes(factors=it, halves=4, restarts=4).fit(X) for it in ((2, 3), (4, 5)))
    assert matched(few.sides_, sides)[3] < 0.1 < 0.8 < matched(many.sides_, sides)[3]


def test_the_rand_index_of_all_pairs_is_that_of_scikit_learn():
    sides = np.random.default_rng(0).random((6, 50)) < 0.4
    sides[5] = False
    expected = [[adjusted_rand_score(a, b) for b in sides] for a in sides]
    assert np.allclose(pairwise_ari(sides), expected)


def test_cells_and_sides_are_inverse():
    cells = np.arange(8)
    assert np.array_equal(cells_of(sides_of(cells, 3)), cells)


def projected(n: int = 300, seed: int = 0):
    """Unit vectors of two timesteps and branches, whose two axes are correlated, and which are noisier at the later timestep."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(n, generator=generator) < 0.3
    second = torch.rand(n, generator=generator) < torch.where(first, 0.2, 0.6)
    sides = torch.stack([first, second], 1).long()
    z, t, b, s = [], [], [], []
    for timestep, spread in ((100.0, 0.1), (900.0, 0.4)):
        for branch in (0, 1):
            x = (
                2 * torch.eye(8)[-1]
                + sides.float() @ torch.eye(8)[:2]
                + spread * torch.randn(n, 8, generator=generator)
            )
            z.append(torch.nn.functional.normalize(x, dim=1))
            t.append(torch.full((n,), timestep))
            b.append(torch.full((n,), branch))
            s.append(sides)
    return torch.cat(z), torch.cat(s), torch.cat(t), torch.cat(b)


def test_the_bank_tells_the_sides_of_each_axis_and_as_many_as_there_are():
    z, sides, t, b = projected()
    bank = calibrated(fit_axes_bank(z, sides, t, b, ("uncond", "cond"), "an encoder"), z, sides, t, b)
    assert len(bank.axes) == 2 and bank.target.tolist() == [0.5] * 4 and bank.encoder == "an encoder"
    for a, axis in enumerate(bank.axes):
        for timestep, least in ((100.0, 0.98), (900.0, 0.8)):
            rows = (t == timestep) & (b == 1)
            told = axis.scores(z[rows], timestep, "cond").argmax(1)
            assert (told == sides[rows, a]).float().mean() > least
            assert told.float().mean() == pytest.approx(float(sides[rows, a].float().mean()), abs=0.01)


def test_the_coordinate_of_an_axis_does_not_answer_to_an_edit_along_another_one():
    z, sides, t, b = projected()
    bank = fit_axes_bank(z, sides, t, b, ("uncond", "cond"))
    rows = (t == 100.0) & (b == 1)
    mean = [z[rows & (sides[:, 0] == s) & (sides[:, 1] == 0)].mean(0) for s in (0, 1)]
    moved = z[rows] + (mean[1] - mean[0])  # along the first axis
    for a, least in ((0, 0.8), (1, None)):
        change = bank.axes[a].scores(moved, 100.0, "cond") - bank.axes[a].scores(z[rows], 100.0, "cond")
        shift = float(change[:, 1].mean())
        assert shift > least if least else abs(shift) < 0.1


def test_an_attribute_that_goes_with_a_prompt_is_not_taken_for_the_prompt():
    """Two prompts, of which one has the attribute four times as often, and a look of its own: the axis is the attribute alone."""
    generator = torch.Generator().manual_seed(1)
    prompt = torch.arange(600) % 2
    side = (torch.rand(600, generator=generator) < torch.where(prompt == 1, 0.8, 0.2)).long()
    x = 2 * torch.eye(8)[-1] + 0.5 * side[:, None] * torch.eye(8)[0] + prompt[:, None] * torch.eye(8)[1]
    z = torch.nn.functional.normalize(x + 0.1 * torch.randn(600, 8, generator=generator), dim=1)
    where = side[:, None], torch.full((600,), 100.0), torch.zeros(600, dtype=torch.int64), ("cond",)
    told = {}
    for name, index in (("apart", prompt), ("as one", None)):
        (bank,) = fit_axes_bank(z, *where, prompt_index=index).axes
        told[name] = bank.scores(z, 100.0, "cond").argmax(1) == side
    rare = [(prompt == p) & (side == 1 - p) for p in (0, 1)]  # where a look that stands for the attribute is wrong
    assert all(told["apart"][rows].float().mean() > 0.9 for rows in rare)
    assert min(told["apart"][rows].float().mean() - told["as one"][rows].float().mean() for rows in rare) > 0.1


def test_a_bank_of_axes_is_saved_and_loaded(tmp_path):
    z, sides, t, b = projected()
    bank = calibrated(fit_axes_bank(z, sides, t, b, ("uncond", "cond"), "e"), z, sides, t, b)
    bank.save(tmp_path / "bank.safetensors")
    loaded = load_bank(tmp_path / "bank.safetensors")
    assert isinstance(loaded, AxesBank) and loaded.branches == bank.branches and loaded.encoder == "e"
    for axis, again in zip(bank.axes, loaded.axes, strict=True):
        assert torch.equal(axis.scores(z[:5], 500.0, "cond"), again.scores(z[:5], 500.0, "cond"))
        assert torch.equal(axis.temperatures, again.temperatures)


def test_an_axis_without_one_of_its_sides_is_refused():
    z, sides, t, b = projected()
    sides[:, 1] = 0
    with pytest.raises(
        ValueError, match=r"both sides of every axis .* none on side 1 of axes \[1\] in the uncond branch"
    ):
        fit_axes_bank(z, sides, t, b, ("uncond", "cond"))
    with pytest.raises(ValueError, match="`axes` must hold at least one axis"):
        AxesBank(())
