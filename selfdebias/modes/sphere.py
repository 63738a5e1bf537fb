"""Unit vectors and the groups that they fall in: centres, nearest centres, numbers by size, and what is left of each prompt."""

from __future__ import annotations

from collections.abc import Sequence

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
    return np.argmax(X @ centers.T, axis=1)  # the length of a vector does not change which centre is nearest


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


def residual(e: Vectors, prompt_of: Sequence[str]) -> Vectors:
    """Take the mean of each prompt's embeddings away.

    Clusters of the embeddings of many prompts are the prompts; those of the residuals are what the prompts have in common.

    Args:
        e: (N, d) embeddings.
        prompt_of: N prompts, of each image its own.

    Returns:
        (N, d), not normalised; the only image of a prompt has a residual of zeros.

    Raises:
        ValueError: if there are not as many prompts as embeddings.

    Example:
        >>> residual(np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]), ["a", "a", "b"]).tolist()
        [[0.5, -0.5], [-0.5, 0.5], [0.0, 0.0]]
    """
    if len(prompt_of) != len(e):
        raise ValueError(f"`prompt_of` must have {len(e)} prompts, one for each embedding, got {len(prompt_of)}.")
    names, rows = np.unique(np.asarray(prompt_of), return_inverse=True)
    means = np.stack([e[rows == row].mean(axis=0) for row in range(len(names))])
    return e - means[rows]


def mean_offsets(e: Vectors, labels: Labels, prompt_of: Sequence[str]) -> Vectors:
    """Return the mean of each mode less the mean of its prompt, (K, d); arguments as in `residual`.

    Example:
        >>> mean_offsets(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]), ["a", "a"]).tolist()
        [[0.5, -0.5], [-0.5, 0.5]]
    """
    apart = residual(e, prompt_of)
    return np.stack([apart[labels == k].mean(axis=0) for k in range(int(labels.max()) + 1)])


def centers_among(e: Vectors, labels: Labels, prompt_of: Sequence[str]) -> Vectors:
    """Place modes that were found on residuals among the embeddings: the mean of all, moved by each mode's mean residual.

    The mean embedding of a mode would also tell which prompts it has more images of.

    Args:
        e: (N, d) embeddings.
        labels: (N,) modes, each with an image.
        prompt_of: N prompts.

    Returns:
        (K, d) unit centres.

    Example:
        >>> e = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> centers_among(e, np.array([0, 1]), ["a", "a"]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return unit(e.mean(axis=0) + mean_offsets(e, labels, prompt_of))
