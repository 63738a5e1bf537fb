"""Clusterings of unit vectors by scikit-learn and SciPy: k-means, Gaussian mixtures, an agglomerative tree, HDBSCAN."""

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
