"""Spectral clustering of unit vectors, with the number of modes chosen by silhouette."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.sparse.csgraph import connected_components
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import SpectralClustering
from sklearn.metrics import silhouette_score
from sklearn.neighbors import kneighbors_graph


class Found(NamedTuple):
    """One clustering that was tried."""

    k: int
    silhouette: float
    labels: np.ndarray
    n_neighbors: int
    components: int


class SpectralModes(ClusterMixin, BaseEstimator):
    """Finds modes as the spectral clusters of a k-nearest-neighbour graph.

    A narrow graph follows single drawings, a wide one blurs small modes: which is right depends on the number of images, so
    the silhouette chooses the width together with the number of modes. Modes are numbered by size, the largest first.

    Args:
        k_min: smallest number of modes that is tried, at least 2.
        k_max: largest number of modes that is tried, at least `k_min`.
        n_neighbors: neighbours of each image in the graph, at least 1; each of them is tried.
        random_state: seed of the eigensolver.

    Attributes:
        labels_: (N,) int, the mode of each fitted vector.
        centers_: (K, d) float64, unit vectors: the normalised means.
        silhouettes_: the mean cosine silhouette of each number of modes tried, at the width that does best for it.
        n_neighbors_: the width of the graph that was taken.
        components_: connected components of that graph; more than one is linked up by more neighbours.

    References:
        arXiv 2512.03749, section on semantic mode discovery; Rousseeuw, Silhouettes, 1987.
    """

    def __init__(self, k_min: int = 2, k_max: int = 8, n_neighbors: Sequence[int] = (10, 30), random_state: int = 0):
        self.k_min = k_min
        self.k_max = k_max
        self.n_neighbors = n_neighbors
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: None = None) -> Self:
        """Find the modes.

        Args:
            X: (N, d) unit vectors.
            y: ignored.

        Raises:
            ValueError: if the range of k is empty, there are fewer than 2 `k_max` vectors, or all vectors are equal.
        """
        X = np.asarray(X, dtype=np.float64)
        self._check(X)
        tried = [
            found for width in sorted({min(n, len(X) - 1) for n in self.n_neighbors}) for found in self._try(X, width)
        ]
        self.silhouettes_ = {k: max(it.silhouette for it in tried if it.k == k) for k in sorted({it.k for it in tried})}
        chosen = max(tried, key=lambda it: it.silhouette)
        self.n_neighbors_, self.components_, best = chosen.n_neighbors, chosen.components, chosen.k
        self.labels_ = _by_size(chosen.labels)
        self.centers_ = _unit(np.stack([X[self.labels_ == k].mean(axis=0) for k in range(best)]))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the nearest centre (N,) of vectors (N, d), by cosine."""
        return np.argmax(_unit(np.asarray(X, dtype=np.float64)) @ self.centers_.T, axis=1)

    def _check(self, X: np.ndarray) -> None:
        if not 2 <= self.k_min <= self.k_max:
            raise ValueError(f"`clustering.k_max` must be at least `k_min`={self.k_min} >= 2, got {self.k_max}.")
        widths = self.n_neighbors
        if isinstance(widths, int) or not len(widths) or min(widths) < 1:
            raise ValueError(f"`clustering.n_neighbors` must be a list of numbers of at least 1, got {widths}.")
        if len(X) < 2 * self.k_max:
            raise ValueError(
                f"`collect.n_images` must be at least twice `clustering.k_max`={self.k_max}, got {len(X)}."
            )
        if np.allclose(X, X[0]):
            raise ValueError("`X` must hold different vectors, got equal ones: the model draws one image only.")

    def _try(self, X: np.ndarray, width: int) -> Iterator[Found]:
        """Yield the clusters of each number of modes on the graph of a width; none where fewer came out than asked for."""
        affinity, n_neighbors, components = _graph(X, width)
        for k in range(self.k_min, self.k_max + 1):
            labels = self._cluster(affinity, k)
            if len(set(labels)) == k:
                score = float(silhouette_score(X, labels, metric="cosine"))
                yield Found(k, score, labels, n_neighbors, components)

    def _cluster(self, affinity, k: int) -> np.ndarray:
        spectral = SpectralClustering(
            k, affinity="precomputed", assign_labels="cluster_qr", random_state=self.random_state
        )
        return spectral.fit_predict(affinity)


def _graph(X: np.ndarray, width: int) -> tuple[Any, int, int]:
    """Return the symmetric neighbour graph, with as many more neighbours as make it one component.

    Returns:
        The affinity, the neighbours taken, and the components that there were at the width asked for.
    """
    graph = kneighbors_graph(X, width, include_self=False)
    components = remaining = int(connected_components(graph, directed=False)[0])
    taken = width
    while remaining > 1 and taken < len(X) - 1:
        taken += 1
        graph = kneighbors_graph(X, taken, include_self=False)
        remaining = int(connected_components(graph, directed=False)[0])
    return 0.5 * (graph + graph.T), taken, components


def _by_size(labels: np.ndarray) -> np.ndarray:
    names, counts = np.unique(labels, return_counts=True)
    rank = {name: i for i, name in enumerate(names[np.argsort(-counts, kind="stable")])}
    return np.array([rank[label] for label in labels])


def _unit(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)
