"""KID and CMMD against a double loop, their intervals against resampled pairs, and bad features."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdebias.metrics.distances import bounded_mmd, frechet_distance, mmd
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.metric import GaussianKernel, PolynomialKernel
from tests.metrics.references import cmmd, kid


def gaussian(seed: int, n: int, d: int = 4, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(0.5, 1.5, d) + shift


def naive_mmd(x: np.ndarray, y: np.ndarray, k) -> float:
    """The U-statistic, pair by pair."""

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def polynomial(degree: int, gamma: float, coef: float):
    return lambda a, b: (gamma * sum(p * q for p, q in zip(a, b, strict=True)) + coef) ** degree


def gaussian_kernel(sigma: float, scale: float):
    return lambda a, b: scale * math.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / (2 * sigma**2))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9))
def test_kid_and_cmmd_are_the_naive_u_statistic(seed, n, m):
    x, y = gaussian(seed, n), gaussian(seed + 1, m)
    assert kid(x, y) == pytest.approx(naive_mmd(x, y, polynomial(3, 1, 1)), rel=1e-9, abs=1e-9)
    other = mmd(x, y, PolynomialKernel(degree=2, gamma=0.25, coef=0.5))
    assert other == pytest.approx(naive_mmd(x, y, polynomial(2, 0.25, 0.5)), rel=1e-9, abs=1e-9)
    assert cmmd(x, y) == pytest.approx(naive_mmd(x, y, gaussian_kernel(10, 1000)), rel=1e-9, abs=1e-9)
    narrow = mmd(x, y, GaussianKernel(sigma=0.7, scale=1.0))
    assert narrow == pytest.approx(naive_mmd(x, y, gaussian_kernel(0.7, 1)), rel=1e-9, abs=1e-9)


def test_distance_does_not_mind_tiles_or_the_order_of_blocks(monkeypatch):
    x, y = gaussian(0, 50), gaussian(1, 33)
    x_blocks, y_blocks = np.arange(50) % 4, np.arange(33) // 5  # blocks that stand together, and that do not
    bootstrap = BlockBootstrap(repeats=20)

    def both(kernel):
        interval = bounded_mmd(x, y, x_blocks, y_blocks, bootstrap, kernel)
        return interval.value, interval.low, interval.high

    for kernel in (PolynomialKernel(), GaussianKernel()):
        whole = both(kernel)
        with monkeypatch.context() as patch:
            patch.setattr("selfdebias.metrics.features._ROWS", 7)
            assert both(kernel) == pytest.approx(whole, rel=1e-9)


def test_no_kernel_matrix_is_larger_than_a_tile(monkeypatch):
    monkeypatch.setattr("selfdebias.metrics.features._ROWS", 8)
    shapes, dtypes = set(), set()

    def kernel(x, y):
        shapes.add((len(x), len(y)))
        dtypes.add(x.dtype)
        return PolynomialKernel()(x, y)

    x, y = (gaussian(seed, 20).astype(np.float32) for seed in (0, 1))
    assert mmd(x, y, kernel) == pytest.approx(kid(x.astype(np.float64), y.astype(np.float64)), rel=1e-12)
    assert max(max(shape) for shape in shapes) == 8
    assert dtypes == {np.dtype(np.float64)}


def test_cmmd_sees_a_shift_and_is_a_thousand_times_the_distance():
    x, y = (unit(gaussian(seed, 60, shift=shift)) for seed, shift in ((0, 0.0), (1, 1.0)))
    assert cmmd(x, y) > 3 * abs(cmmd(x, unit(gaussian(2, 60))))
    assert cmmd(x, y) == pytest.approx(1000 * mmd(x, y, GaussianKernel(scale=1.0)), rel=1e-9)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


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
    interval = bounded_mmd(x, y, x_blocks, y_blocks, bootstrap, kernel)
    values = np.array(values)[np.isfinite(values)]
    centre = 2 * kid(x, y) - values.mean()
    width = 4.3026527 * np.sqrt(3 / 2) * values.std()  # Student's t, 2 degrees, 0.975
    assert [interval.low, interval.high] == pytest.approx([centre - width, centre + width])
    assert interval.blocks == 3


@pytest.mark.parametrize("call", [kid, cmmd, frechet_distance])
def test_bad_features_are_refused(call):
    with pytest.raises(ValueError, match=r"`x` must have shape \(N, d\)"):
        call(np.zeros(3), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="same width, got 2 and 3"):
        call(np.zeros((9, 2)), np.zeros((9, 3)))
    with pytest.raises(ValueError, match="`y` must be finite"):
        call(np.zeros((9, 2)), np.full((9, 2), np.nan))
