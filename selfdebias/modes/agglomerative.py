"""Agglomerative clustering of unit vectors, one tree for every number of modes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from selfdebias.modes.estimator import Candidate, CountedModes
from selfdebias.modes.placement import Vectors


class AgglomerativeModes(CountedModes):
    """Finds modes by joining the nearest clusters, from single images on; the tree is cut at each k.

    The distances of all pairs are held in memory, 4 N (N - 1) bytes: 1.6 GB for 20,000 images.

    Args:
        k_min, k_max, k, choice: see `CountedModes`.
        linkage: `ward`, `average` or `complete`: how far two clusters are apart. The last two leave outliers as modes of their own.
        random_state, space: see `Clustering`.
    """

    def __init__(
        self, k_min: int = 2, k_max: int = 8, linkage: str = "ward", random_state: int = 0, k: int | None = None,
        choice: str = "silhouette", space: str = "image",
    ):  # fmt: skip
        super().__init__(k_min, k_max, random_state, k, choice, space)
        self.linkage = linkage

    def _try(self, X: Vectors, ks: Sequence[int]) -> Iterator[Candidate]:
        if ks:
            tree = linkage(X, self.linkage)
            for k in ks:
                yield Candidate(k, fcluster(tree, k, "maxclust").astype(np.int64) - 1)
