"""Frechet distance, KID and k-NN precision against closed forms, torchmetrics and plain loops."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.fid import FrechetInceptionDistance

from selfdebias.metrics import quality
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.kid import PolynomialKernel, kid, kid_interval


def gaussian(seed: int, n: int, d: int = 4, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(0.5, 1.5, d) + shift


@pytest.mark.parametrize("d", [1, 5, 40])
def test_frechet_of_commuting_gaussians_is_the_closed_form(d):
    generator = np.random.default_rng(d)
    basis = np.linalg.qr(generator.normal(size=(d, d)))[0]
    a, b = generator.uniform(0.1, 3, size=(2, d))
    means = generator.normal(size=(2, d))
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    covariances = [(basis * values) @ basis.T for values in (a, b)]
    measured = quality.frechet_from_moments(means[0], covariances[0], means[1], covariances[1])
    assert measured == pytest.approx(expected, rel=1e-6)


def test_frechet_of_any_two_gaussians_is_that_of_the_product_of_covariances():
    generator = np.random.default_rng(0)
    roots = generator.normal(size=(2, 6, 9))
    a, b = (root @ root.T for root in roots)
    cross = np.sqrt(np.linalg.eigvals(a @ b).real).sum()  # similar to S_x^(1/2) S_y S_x^(1/2)
    expected = np.trace(a) + np.trace(b) - 2 * cross
    assert quality.frechet_from_moments(np.zeros(6), a, np.zeros(6), b) == pytest.approx(expected, rel=1e-8)


def test_frechet_agrees_with_torchmetrics():
    class Identity(torch.nn.Module):
        num_features = 4

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :, 0, 0]

    x, y = gaussian(0, 300), gaussian(1, 200, shift=0.3)
    metric = FrechetInceptionDistance(feature=Identity(), normalize=True)  # a module of one's own gets the images as is
    for rows, real in ((x, True), (y, False)):
        metric.update(torch.from_numpy(rows)[:, :, None, None], real=real)
    assert quality.frechet_distance(x, y) == pytest.approx(float(metric.compute()), rel=1e-3)


def test_frechet_is_refused_up_to_d_and_warned_of_below_ten_d():
    with pytest.raises(ValueError, match="N must be above the feature dimension 4 for a Frechet distance, got 4"):
        quality.frechet_distance(gaussian(0, 4), gaussian(1, 100))
    with pytest.warns(UserWarning, match="below 10 d = 40"):
        quality.frechet_distance(gaussian(0, 39), gaussian(1, 100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quality.frechet_distance(gaussian(0, 40), gaussian(0, 40)) == pytest.approx(0, abs=1e-9)


def naive_kid(x: np.ndarray, y: np.ndarray, kernel: PolynomialKernel) -> float:
    """The U-statistic, pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (kernel.gamma * sum(p * q for p, q in zip(a, b, strict=True)) + kernel.coef) ** kernel.degree

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9))
def test_kid_is_the_naive_u_statistic(seed, n, m):
    x, y = gaussian(seed, n), gaussian(seed + 1, m)
    for kernel in (PolynomialKernel(), PolynomialKernel(degree=2, gamma=0.25, coef=0.5)):
        assert kid(x, y, kernel) == pytest.approx(naive_kid(x, y, kernel), rel=1e-9, abs=1e-9)


def test_kid_does_not_mind_chunks(monkeypatch):
    x, y = gaussian(0, 50), gaussian(1, 33)
    whole = kid(x, y)
    monkeypatch.setattr("selfdebias.metrics.features._ROWS", 7)
    assert kid(x, y) == pytest.approx(whole, rel=1e-12)


def test_kid_is_unbiased_between_equal_distributions_and_sees_a_shift():
    same = [kid(gaussian(i, 20), gaussian(1000 + i, 20)) for i in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert kid(gaussian(0, 100), gaussian(1, 100, shift=1.0)) > 4 * np.std(same)


def test_kid_interval_is_that_of_resampled_pairs_without_an_image_and_its_copy():
    x, y = gaussian(0, 8, d=2), gaussian(1, 6, d=2, shift=0.5)
    x_blocks, y_blocks = np.repeat([0, 1, 2, 3], 2), np.repeat([0, 1, 2], 2)
    bootstrap, kernel = BlockBootstrap(repeats=60, seed=2), PolynomialKernel()

    def mean(a: np.ndarray, b: np.ndarray, rows: list[int], columns: list[int], own: bool) -> float:
        return np.mean(
            [kernel(a[[i]], b[[j]])[0, 0] for i in rows for j in columns if not (own and i == j)] or [np.nan]
        )

    values = []
    for wx, wy in zip(bootstrap.weights(4), bootstrap.weights(3, stream=1), strict=True):
        xs = [i for i in range(8) for _ in range(int(wx[x_blocks[i]]))]
        ys = [i for i in range(6) for _ in range(int(wy[y_blocks[i]]))]
        values.append(mean(x, x, xs, xs, True) + mean(y, y, ys, ys, True) - 2 * mean(x, y, xs, ys, False))
    interval = kid_interval(x, y, x_blocks, y_blocks, bootstrap)
    values = np.array(values)[np.isfinite(values)]
    centre = 2 * kid(x, y) - values.mean()
    width = 4.3026527 * np.sqrt(3 / 2) * values.std()  # Student's t, 2 degrees, 0.975
    assert [interval.low, interval.high] == pytest.approx([centre - width, centre + width])
    assert interval.blocks == 3


def naive_precision(real: np.ndarray, fake: np.ndarray, k: int) -> float:
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).sum()))

    radii = [sorted(distance(a, b) for j, b in enumerate(real) if j != i)[k - 1] for i, a in enumerate(real)]
    return np.mean([any(distance(f, a) <= r for a, r in zip(real, radii, strict=True)) for f in fake])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(6, 20), st.integers(1, 20))
def test_knn_precision_is_that_of_a_loop(seed, k, n, m):
    real, fake = gaussian(seed, n), gaussian(seed + 1, m, shift=0.7)
    assert quality.knn_precision(real, fake, k) == naive_precision(real, fake, k)


def test_knn_covers_the_real_points_and_nothing_far_away():
    real = gaussian(0, 20)
    assert quality.knn_covered(real, real).all()
    assert not quality.knn_covered(real, real + 100).any()
    with pytest.raises(ValueError, match="`real` must have at least 4 rows, got 3"):
        quality.knn_covered(real[:3], real)


@pytest.mark.filterwarnings("ignore:Frechet distance")
def test_within_modes_a_new_mix_of_the_same_modes_costs_nothing():
    far = np.array([50.0, 0, 0, 0])
    real = np.concatenate([gaussian(0, 40), gaussian(1, 40) + far])
    fake = np.concatenate([gaussian(2, 60), gaussian(3, 10) + far])
    modes = np.repeat([0, 1], 40), np.repeat([0, 1], [60, 10])
    inside = quality.within_modes(quality.frechet_distance, real, modes[0], fake, modes[1], 3)
    assert max(inside[:2]) < 0.01 * quality.frechet_distance(real, fake)
    assert inside[2] == "`x` must have at least 1 rows, got 0."


@pytest.mark.parametrize("call", [kid, quality.frechet_distance])
def test_bad_features_are_refused(call):
    with pytest.raises(ValueError, match=r"`x` must have shape \(N, d\)"):
        call(np.zeros(3), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="same width, got 2 and 3"):
        call(np.zeros((9, 2)), np.zeros((9, 3)))
    with pytest.raises(ValueError, match="`y` must be finite"):
        call(np.zeros((9, 2)), np.full((9, 2), np.nan))
