"""Unit vectors with planted modes."""

from __future__ import annotations

import numpy as np


def blobs(sizes: list[int], spread: float = 0.1, seed: int = 0, dim: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around unit axes, shuffled, (N, dim); and the axis of each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    X = np.eye(dim)[labels] + spread * rng.standard_normal((len(labels), dim))
    order = rng.permutation(len(labels))
    X, labels = X[order], labels[order]
    return X / np.linalg.norm(X, axis=1, keepdims=True), labels
