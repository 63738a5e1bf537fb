"""Frechet distance of two sets of features, by their means and covariances in float64."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, eigvalsh

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.features import chunks, features, paired
from selfdebias.metrics.metric import Metric
from selfdebias.metrics.number import NO_INTERVAL, Number
from selfdebias.metrics.suite import MetricSuite

Array = NDArray[np.float64]


class Moments(NamedTuple):
    """Number of images n, mean (d,) and unbiased covariance (d, d) of their features, float64."""

    n: int
    mean: Array
    cov: Array


def moments(x: ArrayLike) -> Moments:
    """Accumulate the moments of (N, d) features, N >= 2, chunk by chunk in float64; the features may be float32.

    Each chunk is shifted by the mean of the first one, so that features with a large mean lose no digits.

    Example:
        >>> moments([[1.0, 0.0], [3.0, 0.0]]).cov.tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """
    x = features(x, least=2)
    shift = x[next(chunks(len(x)))].mean(0, dtype=np.float64)
    total, outer = np.zeros(len(shift)), np.zeros((len(shift), len(shift)))
    for rows in chunks(len(x)):
        part = x[rows] - shift
        total += part.sum(0)
        outer += part.T @ part
    mean = total / len(x)
    return Moments(len(x), mean + shift, (outer - np.outer(total, mean)) / (len(x) - 1))


def frechet_from_moments(mean_x: ArrayLike, cov_x: ArrayLike, mean_y: ArrayLike, cov_y: ArrayLike) -> float:
    """Frechet distance of two Gaussians, `||m_x - m_y||^2 + tr(S_x + S_y - 2 (S_x^(1/2) S_y S_x^(1/2))^(1/2))`.

    The product is symmetric, so its eigenvalues are real: no complex square root of a matrix is taken.

    Args:
        mean_x, mean_y: (d,).
        cov_x, cov_y: (d, d), symmetric, positive semidefinite.

    References:
        arXiv 1706.08500.

    Example:
        >>> float(round(frechet_from_moments([0.0], [[1.0]], [3.0], [[4.0]]), 6))
        10.0
    """
    mean_x, cov_x, mean_y, cov_y = (np.asarray(a, dtype=np.float64) for a in (mean_x, cov_x, mean_y, cov_y))
    values, vectors = eigh(cov_x)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = root @ cov_y @ root
    cross = np.sqrt(eigvalsh((product + product.T) / 2, overwrite_a=True).clip(0)).sum()
    distance = np.square(mean_x - mean_y).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * cross
    return float(max(distance, 0.0))


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Frechet distance of two feature matrices, (N, d) and (M, d); FID, if Inception-v3 made them.

    Raises:
        ValueError: if a matrix has no more than d rows, or the widths differ.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(40, 2))
        >>> round(frechet_distance(x, x + [3.0, 4.0]), 6)
        25.0
    """
    x, y = paired(x, y)
    _check_size(min(len(x), len(y)), x.shape[1])  # before anything is summed
    (_, *first), (_, *second) = moments(x), moments(y)
    return frechet_from_moments(*first, *second)


def _check_size(n: int, d: int) -> None:
    if n <= d:
        raise ValueError(f"N must be above the feature dimension {d} for a Frechet distance, got {n}.")
    if n < 10 * d:
        warnings.warn(f"Frechet distance with N = {n} below 10 d = {10 * d}: biased upwards.", stacklevel=3)


def _measure(arm: ArmData, reference: ArmData, _suite: MetricSuite, _resampling: BlockBootstrap | None) -> Number:
    return Number(frechet_distance(arm.compared, reference.compared), reason=NO_INTERVAL)


FRECHET = Metric(
    key="frechet_distance",
    title="Frechet distance",
    meaning="distance of the means and covariances of the features, as of two Gaussians; 0 is best.",
    measure=_measure,
    interval=False,
    labelled=True,
)
