"""Frechet distance against closed forms, torchmetrics and scipy's matrix square root, and what it takes at scale."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.fid import FrechetInceptionDistance

from selfdebias.metrics import distances


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
    measured = distances.frechet_from_moments(means[0], covariances[0], means[1], covariances[1])
    assert measured == pytest.approx(expected, rel=1e-6)


def test_frechet_of_any_two_gaussians_is_that_of_the_product_of_covariances():
    generator = np.random.default_rng(0)
    roots = generator.normal(size=(2, 6, 9))
    a, b = (root @ root.T for root in roots)
    cross = np.sqrt(np.linalg.eigvals(a @ b).real).sum()  # similar to S_x^(1/2) S_y S_x^(1/2)
    expected = np.trace(a) + np.trace(b) - 2 * cross
    assert distances.frechet_from_moments(np.zeros(6), a, np.zeros(6), b) == pytest.approx(expected, rel=1e-8)


def test_frechet_agrees_with_torchmetrics():
    class Identity(torch.nn.Module):
        num_features = 4

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :, 0, 0]

    x, y = gaussian(0, 300), gaussian(1, 200, shift=0.3)
    metric = FrechetInceptionDistance(feature=Identity(), normalize=True)  # a module of one's own gets the images as is
    for rows, real in ((x, True), (y, False)):
        metric.update(torch.from_numpy(rows)[:, :, None, None], real=real)
    assert distances.frechet_distance(x, y) == pytest.approx(float(metric.compute()), rel=1e-3)


def test_frechet_is_refused_up_to_d_and_warned_of_below_ten_d():
    with pytest.raises(ValueError, match="N must be above the feature dimension 4 for a Frechet distance, got 4"):
        distances.frechet_distance(gaussian(0, 4), gaussian(1, 100))
    with pytest.warns(UserWarning, match="below 10 d = 40"):
        distances.frechet_distance(gaussian(0, 39), gaussian(1, 100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distances.frechet_distance(gaussian(0, 40), gaussian(0, 40)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("d", [2, 7, 30])
def test_frechet_of_any_two_gaussians_is_that_of_the_matrix_square_root(d):
    generator = np.random.default_rng(d)
    roots, means = generator.normal(size=(2, d, d + 3)), generator.normal(size=(2, d))
    a, b = (root @ root.T for root in roots)
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert distances.frechet_from_moments(means[0], a, means[1], b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_moments_in_chunks_of_float32_are_those_of_the_whole_in_float64(monkeypatch, offset):
    monkeypatch.setattr("selfdebias.metrics.features._ROWS", 64)
    x = (gaussian(0, 300) + offset).astype(np.float32)
    mean, cov = distances.moments(x)
    whole = x.astype(np.float64)
    assert mean.dtype == cov.dtype == np.float64
    assert mean == pytest.approx(whole.mean(0), rel=1e-12)
    assert cov == pytest.approx(np.cov(whole.T), rel=1e-9)  # sums without a shift keep 1e-7 at this offset


def test_no_copy_of_all_features_is_made(monkeypatch):
    x = np.ones((8, 2), dtype=np.float32)
    assert distances.features(x) is x
    seen = []
    monkeypatch.setattr("selfdebias.metrics.features._ROWS", 3)
    monkeypatch.setattr(distances, "features", lambda x, **_: Watched(x, seen))
    distances.moments(x)
    assert max(seen) == 3


class Watched:
    """Features that note how many rows are taken at once."""

    def __init__(self, rows: np.ndarray, seen: list[int]) -> None:
        self.rows, self.seen = rows, seen

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        self.seen.append(len(self.rows[part]))
        return self.rows[part]


def test_features_of_two_widths_or_of_one_image_are_refused():
    with pytest.raises(ValueError, match="`x` must have at least 2 rows, got 1"):
        distances.moments(gaussian(0, 1))
    with pytest.raises(ValueError, match="same width, got 4 and 3"):
        distances.frechet_distance(gaussian(0, 50), gaussian(0, 50, d=3))
