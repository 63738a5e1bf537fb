"""Embeddings with their prompt's mean taken away: what sets an image apart from the others of its prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfdebias.modes.sphere import Labels, Vectors, unit


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
