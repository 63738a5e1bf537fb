"""K-means of unit vectors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from selfdebias.modes.estimator import Candidate, CountedModes
from selfdebias.modes.placement import Vectors


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
