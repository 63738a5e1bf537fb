"""Spectral clustering of unit vectors, with the number of modes chosen by silhouette."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy.sparse.csgraph import connected_components
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import SpectralClustering
from sklearn.metrics import silhouette_score
from sklearn.neighbors import kneighbors_graph


class SpectralModes(ClusterMixin, BaseEstimator):
    """Finds modes as the spectral clusters of a k-nearest-neighbour graph.

    Modes are numbered by size, the largest first.

    Args:
        k_min: smallest number of modes that is tried, at least 2.
        k_max: largest number of modes that is tried, at least `k_min`.
        n_neighbors: neighbours of each image in the graph, at least 1.
        random_state: seed of the eigensolver.

    Attributes:
        labels_: (N,) int, the mode of each fitted vector.
        centers_: (K, d) float64, unit vectors: the normalised means.
        silhouettes_: the mean cosine silhouette of each number of modes tried.
        components_: connected components of the neighbour graph; more than one is linked up by the nearest pairs.

    References:
        arXiv 2512.03749, section on semantic mode discovery; Rousseeuw, Silhouettes, 1987.
    """

    def __init__(self, k_min: int = 2, k_max: int = 8, n_neighbors: int = 10, random_state: int = 0):
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
        affinity = self._graph(X)
        found = {k: self._cluster(affinity, k) for k in range(self.k_min, self.k_max + 1)}
        self.silhouettes_ = {
            k: float(silhouette_score(X, labels, metric="cosine"))
            for k, labels in found.items()
            if len(set(labels)) == k
        }
        best = max(self.silhouettes_, key=lambda k: self.silhouettes_[k])
        self.labels_ = _by_size(found[best])
        self.centers_ = _unit(np.stack([X[self.labels_ == k].mean(axis=0) for k in range(best)]))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the nearest centre (N,) of vectors (N, d), by cosine."""
        return np.argmax(_unit(np.asarray(X, dtype=np.float64)) @ self.centers_.T, axis=1)

    def _check(self, X: np.ndarray) -> None:
        if not 2 <= self.k_min <= self.k_max:
            raise ValueError(f"`clustering.k_max` must be at least `k_min`={self.k_min} >= 2, got {self.k_max}.")
        if self.n_neighbors < 1:
            raise ValueError(f"`clustering.n_neighbors` must be at least 1, got {self.n_neighbors}.")
        if len(X) < 2 * self.k_max:
            raise ValueError(
                f"`collect.n_images` must be at least twice `clustering.k_max`={self.k_max}, got {len(X)}."
            )
        if np.allclose(X, X[0]):
            raise ValueError("`X` must hold different vectors, got equal ones: the model draws one image only.")

    def _graph(self, X: np.ndarray):
        """Return the symmetric neighbour graph, with as many neighbours as make it one component."""
        for n_neighbors in range(min(self.n_neighbors, len(X) - 1), len(X)):
            graph = kneighbors_graph(X, n_neighbors, include_self=False)
            components = connected_components(graph, directed=False)[0]
            if n_neighbors == min(self.n_neighbors, len(X) - 1):
                self.components_ = int(components)
            if components == 1:
                self.n_neighbors_ = n_neighbors
                break
        return 0.5 * (graph + graph.T)

    def _cluster(self, affinity, k: int) -> np.ndarray:
        spectral = SpectralClustering(
            k, affinity="precomputed", assign_labels="cluster_qr", random_state=self.random_state
        )
        return spectral.fit_predict(affinity)


def _by_size(labels: np.ndarray) -> np.ndarray:
    names, counts = np.unique(labels, return_counts=True)
    rank = {name: i for i, name in enumerate(names[np.argsort(-counts, kind="stable")])}
    return np.array([rank[label] for label in labels])


def _unit(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)
