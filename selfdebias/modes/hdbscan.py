"""HDBSCAN of unit vectors: modes as dense places, and no number of them asked for."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import HDBSCAN

from selfdebias.modes.estimator import ModeEstimator, Silhouette
from selfdebias.modes.placement import Labels, Vectors


class HdbscanModes(ModeEstimator):
    """Finds modes as dense places with sparse ones between; noise goes to its nearest mode, and is counted in `noise_`.

    Where it finds no two dense places, there is one mode.

    Args:
        min_cluster_size: images in a mode, at least 2.
        min_samples: neighbours, an image itself among them, that make a place dense, at least 1.
        random_state: seed of the sample that the silhouette is taken over; the clustering itself is deterministic.
        space: see `Clustering`.

    References:
        Campello, Moulavi and Sander, Density-based clustering based on hierarchical density estimates, 2013.
    """

    def __init__(
        self, min_cluster_size: int = 10, min_samples: int = 5, random_state: int = 0, space: str = "image"
    ):  # fmt: skip
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.random_state = random_state
        self.space = space

    def _find(self, X: Vectors, score: Silhouette) -> tuple[Labels, Labels]:
        found = HDBSCAN(self.min_cluster_size, min_samples=self.min_samples, copy=True).fit(X).labels_.astype(np.int64)
        return found, np.zeros(max(int(found.max()) + 1, 1), dtype=np.int64)
