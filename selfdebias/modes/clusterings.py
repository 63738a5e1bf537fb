"""Clusterings of unit vectors by scikit-learn and SciPy: k-means, Gaussian mixtures, a tree, HDBSCAN, and one in two stages."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from selfdebias.modes.estimator import Candidate, CountedModes, ModeEstimator, Silhouette
from selfdebias.modes.placement import Labels, Vectors
from selfdebias.modes.spectral import SpectralModes, cut, neighbour_graph, spectral_map


class KMeansModes(CountedModes):
    """Finds modes as the clusters of k-means: round ones, of about the same spread.

    Args:
        k_min, k_max, k, choice: see `CountedModes`.
        n_init: starts, of which the one with the smallest inertia is kept, at least 1.
        random_state, space: see `Clustering`.
    """

    def __init__(
        self, k_min: int = 2, k_max: int = 8, n_init: int = 10, random_state: int = 0, k: int | None = None,
        choice: str = "silhouette", space: str = "image",
    ):  # fmt: skip
        super().__init__(k_min, k_max, random_state, k, choice, space)
        self.n_init = n_init

    def _try(self, X: Vectors, ks: Sequence[int]) -> Iterator[Candidate]:
        for k in ks:
            with warnings.catch_warnings():  # of fewer different vectors than clusters: such a k is left out
                warnings.simplefilter("ignore", ConvergenceWarning)
                means = KMeans(k, n_init=self.n_init, random_state=self.random_state).fit(X)
            yield Candidate(k, means.labels_)


class GaussianMixtureModes(CountedModes):
    """Finds modes as the components of a Gaussian mixture: of different spreads and sizes, each image in its likeliest one.

    Args:
        k_min, k_max, k, choice: see `CountedModes`.
        covariance: `diag`, `spherical`, `tied` or `full`; the last two have d squared numbers, too many for some hundred images.
        n_init: starts, of which the likeliest is kept, at least 1.
        random_state, space: see `Clustering`.
    """

    def __init__(
        self, k_min: int = 2, k_max: int = 8, covariance: str = "diag", n_init: int = 3, random_state: int = 0,
        k: int | None = None, choice: str = "silhouette", space: str = "image",
    ):  # fmt: skip
        super().__init__(k_min, k_max, random_state, k, choice, space)
        self.covariance = covariance
        self.n_init = n_init

    def _try(self, X: Vectors, ks: Sequence[int]) -> Iterator[Candidate]:
        for k in ks:
            mixture = GaussianMixture(
                k, covariance_type=self.covariance, n_init=self.n_init, random_state=self.random_state
            )
            with warnings.catch_warnings():  # of fewer different vectors than components: such a k is left out
                warnings.simplefilter("ignore", ConvergenceWarning)
                yield Candidate(k, mixture.fit_predict(X))


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


class TwoStageModes(SpectralModes):
    """Finds clusters as `SpectralModes` does, then cuts each one into two spectral clusters, and those again.

    A cluster is left as it is at depth `max_depth`, and where a half of it would be smaller than `min_size`. A mode at depth d has
    the weight ``1 / (d + 1)`` in the target `depth`, so that the parts of a cluster do not count as much as clusters of their own.

    Args:
        min_size: images in a half, at least 1.
        max_depth: cuts on the way to a mode, at least 0; 0 leaves the first stage alone.
        k_min, k_max, n_neighbors, random_state, k, choice, space: of the first stage, see `SpectralModes`.

    References:
        arXiv 2512.03749, two-stage clustering.
    """

    def __init__(
        self, min_size: int = 32, max_depth: int = 2, k_min: int = 2, k_max: int = 8,
        n_neighbors: Sequence[int] = (10, 30), random_state: int = 0, k: int | None = None, choice: str = "silhouette",
        space: str = "image",
    ):  # fmt: skip
        super().__init__(k_min, k_max, n_neighbors, random_state, k, choice, space)
        self.min_size = min_size
        self.max_depth = max_depth

    def _find(self, X: Vectors, score: Silhouette) -> tuple[Labels, Labels]:
        clusters, _ = super()._find(X, score)
        if clusters.max() == 0:  # one mode is none to cut
            return clusters, np.zeros(1, dtype=np.int64)
        leaves = [
            leaf for k in range(int(clusters.max()) + 1) for leaf in self._halved(X, np.flatnonzero(clusters == k), 0)
        ]
        labels = np.empty(len(X), dtype=np.int64)
        for place, (rows, _) in enumerate(leaves):
            labels[rows] = place
        return labels, np.array([depth for _, depth in leaves])

    def _halved(self, X: Vectors, rows: Labels, depth: int) -> Iterator[tuple[Labels, int]]:
        """Yield the rows and the depth of each mode inside a cluster."""
        sides = self._sides(X[rows]) if depth < self.max_depth and len(rows) >= 2 * self.min_size else None
        if sides is None or min(np.bincount(sides, minlength=2)) < self.min_size:
            yield rows, depth
            return
        for side in (0, 1):
            yield from self._halved(X, rows[sides == side], depth + 1)

    def _sides(self, X: Vectors) -> Labels | None:
        """Cut a cluster in two on the graph of its own images, as wide as the first stage's; None if they are copies."""
        if len(X) < 3 or np.allclose(X, X[0]):
            return None
        graph = neighbour_graph(X, min(self.n_neighbors_, len(X) - 1))
        return cut(spectral_map(graph.affinity, 2, self.random_state))
