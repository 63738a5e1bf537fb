"""Distances between sets of features, in float64: Frechet distance, k-NN precision, and any metric within modes.

A feature matrix is (N, d): one row an image. Nothing here knows which extractor made it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, eigvalsh
from scipy.spatial.distance import cdist

from selfdebias.metrics.features import chunks, features, paired

Array = NDArray[np.float64]


def moments(x: ArrayLike) -> tuple[Array, Array]:
    """Return the mean (d,) and the unbiased covariance (d, d) of (N, d) features, N >= 2."""
    x = features(x, least=2)
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


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
    cross = np.sqrt(eigvalsh((product + product.T) / 2).clip(0)).sum()
    distance = np.square(mean_x - mean_y).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * cross
    return float(max(distance, 0.0))


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Frechet distance of two feature matrices, (N, d) and (M, d), by their moments.

    With N <= d the covariance is singular and the figure mostly counts images, so it is refused; it is biased upwards
    below about 10 d, where a warning is given.

    Raises:
        ValueError: if a matrix has no more than d rows, or the widths differ.
    """
    x, y = paired(x, y)
    n, d = min(len(x), len(y)), x.shape[1]
    if n <= d:
        raise ValueError(f"N must be above the feature dimension {d} for a Frechet distance, got {n}.")
    if n < 10 * d:
        warnings.warn(f"Frechet distance with N = {n} below 10 d = {10 * d}: biased upwards.", stacklevel=2)
    return frechet_from_moments(*moments(x), *moments(y))


def knn_covered(real: ArrayLike, fake: ArrayLike, k: int = 3) -> NDArray[np.bool_]:
    """Tell which fake points lie inside the ball of any real point; its radius reaches that point's k-th neighbour.

    Args:
        real: (N, d), N > k.
        fake: (M, d).
        k: at least 1; a point is not its own neighbour.

    Returns:
        (M,) bool.

    Raises:
        ValueError: if `real` has no more than k rows.

    References:
        arXiv 1904.06991.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    real, fake = features(real, "real", least=k + 1), features(fake, "fake", least=0)
    # A row's distance to itself, 0, is the first of the sorted ones: the k-th neighbour stands at index k.
    radii = [np.partition(cdist(real[rows], real), k, axis=1)[:, k] for rows in chunks(len(real))]
    reach = np.concatenate(radii)
    inside = [(cdist(fake[rows], real) <= reach).any(1) for rows in chunks(len(fake))]
    return np.concatenate([np.zeros(0, dtype=bool), *inside])


def knn_precision(real: ArrayLike, fake: ArrayLike, k: int = 3) -> float:
    """Share of fake points that `knn_covered` finds covered, in [0, 1].

    Example:
        >>> knn_precision([[0.0], [1.0], [2.0]], [[0.5], [2.9], [9.0], [-1.0]], k=1)
        0.75
    """
    return float(knn_covered(real, features(fake, "fake"), k).mean())


def within_modes(
    metric: Callable[[Array, Array], float],
    real: ArrayLike,
    real_modes: ArrayLike,
    fake: ArrayLike,
    fake_modes: ArrayLike,
    n_modes: int,
) -> list[float | str]:
    """Apply a metric of (real, fake) features inside each mode, so that a new mix of modes is not held against an arm.

    Returns:
        one value a mode, or the metric's own sentence why that mode is too small for it.

    Example:
        >>> real, modes = np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 1])
        >>> within_modes(lambda a, b: knn_precision(a, b, k=1), real, modes, [[0.2], [5.0]], np.array([0, 1]), 2)
        [1.0, '`real` must have at least 2 rows, got 1.']
    """
    real, fake = features(real, "real", least=0), features(fake, "fake", least=0)
    real_modes, fake_modes = np.asarray(real_modes), np.asarray(fake_modes)
    results: list[float | str] = []
    for mode in range(n_modes):
        try:
            results.append(metric(real[real_modes == mode], fake[fake_modes == mode]))
        except ValueError as error:
            results.append(str(error))
    return results
