"""Precision and recall against plain loops, by hand, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdebias.metrics import quality
from tests.metrics.references import knn_precision


def gaussian(seed: int, n: int, d: int = 4, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(0.5, 1.5, d) + shift


def naive_precision(real: np.ndarray, fake: np.ndarray, k: int) -> float:
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).sum()))

    radii = [sorted(distance(a, b) for j, b in enumerate(real) if j != i)[k - 1] for i, a in enumerate(real)]
    return np.mean([any(distance(f, a) <= r for a, r in zip(real, radii, strict=True)) for f in fake])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(6, 20), st.integers(1, 20))
def test_precision_and_recall_are_those_of_a_loop(seed, k, n, m):
    real, fake = gaussian(seed, n), gaussian(seed + 1, m, shift=0.7)
    assert knn_precision(real, fake, k) == naive_precision(real, fake, k)
    if m > k:
        assert quality.knn_recall(real, fake, k) == naive_precision(fake, real, k)


def test_knn_covers_the_real_points_and_nothing_far_away():
    real = gaussian(0, 20)
    assert quality.knn_covered(real, real).all()
    assert not quality.knn_covered(real, real + 100).any()
    with pytest.raises(ValueError, match="`real` must have at least 4 rows, got 3"):
        quality.knn_covered(real[:3], real)


@pytest.mark.parametrize("positions", list(itertools.product(range(4), repeat=3)))
def test_every_placing_of_three_points_on_a_line_of_four(positions):
    """Real points at 0, 1 and 3 with k = 1 have balls [-1, 1], [0, 2] and [1, 5]: all of the line is in one."""
    real, fake = np.array([[0.0], [1.0], [3.0]]), np.array(positions, dtype=float)[:, None]
    assert knn_precision(real, fake, k=1) == 1
    reach = [min(abs(p - q) for j, q in enumerate(positions) if j != i) for i, p in enumerate(positions)]
    found = [any(abs(r - p) <= d for p, d in zip(positions, reach, strict=True)) for r in (0, 1, 3)]
    assert quality.knn_recall(real, fake, k=1) == np.mean(found)


def test_an_arm_that_shows_one_mode_alone_is_precise_and_recalls_half():
    near, far = gaussian(0, 40), gaussian(1, 40) + 50
    fake = gaussian(2, 40)
    assert knn_precision(np.concatenate([near, far]), fake) > 0.6
    assert quality.knn_recall(np.concatenate([near, far]), fake) <= 0.5


def test_recall_needs_more_generated_points_than_neighbours():
    with pytest.raises(ValueError, match="`fake` must have at least 4 rows, got 3"):
        quality.knn_recall(gaussian(0, 20), gaussian(1, 3))
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        quality.knn_covered(gaussian(0, 20), gaussian(1, 3), k=0)


def test_float32_and_chunks_change_nothing(monkeypatch):
    real, fake = gaussian(0, 50).astype(np.float32), gaussian(1, 40).astype(np.float32)
    whole = [f(real.astype(np.float64), fake.astype(np.float64)) for f in MEASURES]
    monkeypatch.setattr("selfdebias.metrics.features._ROWS", 7)
    assert [f(real, fake) for f in MEASURES] == whole


MEASURES = (knn_precision, quality.knn_recall)


def test_wide_features_have_the_neighbours_that_a_loop_finds():
    draw = np.random.default_rng(0)
    real, fake = draw.normal(size=(30, quality.WIDE + 44)) + 5, draw.normal(size=(25, quality.WIDE + 44)) + 5
    reach = [sorted(np.linalg.norm(real - x, axis=1))[3] for x in real]
    naive = [any(np.linalg.norm(x - y) <= r for y, r in zip(real, reach, strict=True)) for x in fake]
    assert 0 < sum(naive) < 25 and quality.knn_covered(real, fake, 3).tolist() == naive
