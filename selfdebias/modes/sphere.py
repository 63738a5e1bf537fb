"""Unit vectors and the groups that they fall in: centres, nearest centres, and numbers by size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]
Labels = NDArray[np.int64]
NOISE = -1  # label of what a clustering leaves in no mode
TINY = 1e-12


def unit(X: Vectors) -> Vectors:
    """Scale rows (N, d) to length 1; a row of zeros stays one.

    Example:
        >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), TINY)


def centers_of(X: Vectors, labels: Labels) -> Vectors:
    """Average the unit vectors (N, d) of each mode into unit centres (K, d); noise is left out.

    Example:
        >>> centers_of(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), np.array([1, 0, NOISE])).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    return unit(np.stack([X[labels == k].mean(axis=0) for k in range(int(labels.max()) + 1)]))


def nearest(X: Vectors, centers: Vectors) -> Labels:
    """Return the centre (N,) nearest to each vector by cosine, the first of equally near ones.

    Example:
        >>> nearest(np.array([[2.0, 1.0]]), np.eye(2)).tolist()
        [0]
    """
    return np.argmax(unit(X) @ centers.T, axis=1)


def by_size(labels: Labels) -> tuple[Labels, Labels]:
    """Number modes by size, the largest first, equally large ones in their old order; noise stays noise.

    Args:
        labels: (N,) names of modes, at least 0, or `NOISE`.

    Returns:
        The new labels (N,), and the old name of each mode (K,).

    Example:
        >>> [found.tolist() for found in by_size(np.array([4, 2, 2, NOISE]))]
        [[1, 0, 0, -1], [2, 4]]
    """
    names, counts = np.unique(labels[labels != NOISE], return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    rank = {int(name): i for i, name in enumerate(order)} | {NOISE: NOISE}
    return np.array([rank[int(label)] for label in labels], dtype=np.int64), order
