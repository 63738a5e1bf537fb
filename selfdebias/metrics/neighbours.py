"""Measures by nearest neighbours: precision, recall, density and coverage of features, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from selfdebias.metrics.features import chunks, features

WIDE = 256  # columns; with fewer, differences are squared and summed one by one, exactly


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

    Example:
        >>> knn_covered([[0.0], [1.0], [2.0]], [[0.5], [9.0]], k=1).tolist()
        [True, False]
    """
    inside = [within.any(1) for within in _inside(real, fake, k)]
    return np.concatenate([np.zeros(0, dtype=bool), *inside])


def knn_precision(real: ArrayLike, fake: ArrayLike, k: int = 3) -> float:
    """Share of fake points that `knn_covered` finds covered, in [0, 1].

    Example:
        >>> knn_precision([[0.0], [1.0], [2.0]], [[0.5], [2.9], [9.0], [-1.0]], k=1)
        0.75
    """
    return float(knn_covered(real, features(fake, "fake"), k).mean())


def knn_recall(real: ArrayLike, fake: ArrayLike, k: int = 3) -> float:
    """Share of real points inside the ball of any fake point: precision with the roles swapped, in [0, 1].

    Example:
        >>> knn_recall([[0.0], [1.0], [9.0]], [[0.5], [1.5]], k=1)
        0.6666666666666666
    """
    return float(knn_covered(features(fake, "fake", least=k + 1), features(real, "real"), k).mean())


def density(real: ArrayLike, fake: ArrayLike, k: int = 3) -> float:
    """Number of real balls that a fake point lies in, on average, over k; at least 0, 1 is expected of equal sets.

    References:
        arXiv 2002.09797.

    Example:
        >>> density([[0.0], [1.0], [2.0]], [[0.5], [9.0]], k=1)
        1.0
    """
    counts = [within.sum(1) for within in _inside(real, features(fake, "fake"), k)]
    return float(np.concatenate(counts).mean() / k)


def coverage(real: ArrayLike, fake: ArrayLike, k: int = 3) -> float:
    """Share of real points whose ball has a fake point in it, in [0, 1].

    References:
        arXiv 2002.09797.

    Example:
        >>> coverage([[0.0], [1.0], [4.0], [5.0]], [[0.5], [9.0]], k=1)
        0.5
    """
    found = [within.any(0) for within in _inside(real, features(fake, "fake"), k)]
    return float(np.any(found, axis=0).mean())


def _inside(real: ArrayLike, fake: ArrayLike, k: int) -> Iterator[NDArray[np.bool_]]:
    """Yield whether each of a chunk of fake points is in each real ball, (chunk, N) bool."""
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    real = features(real, "real", least=k + 1).astype(np.float64, copy=False)
    fake = features(fake, "fake", least=0).astype(np.float64, copy=False)
    # A row's distance to itself, 0, is the first of the sorted ones: the k-th neighbour stands at index k.
    radii = [np.partition(_distances(real[rows], real), k, axis=1)[:, k] for rows in chunks(len(real))]
    reach = np.concatenate(radii)
    return (_distances(fake[rows], real) <= reach for rows in chunks(len(fake)))


def _distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of (N, d) and (M, d) rows, (N, M); wide rows by one matrix product, four times as fast."""
    if x.shape[1] <= WIDE:
        return cdist(x, y)
    squares = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * (x @ y.T)
    return np.sqrt(squares.clip(0))
