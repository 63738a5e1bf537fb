"""What every clustering of modes has: scikit-learn's contract, modes numbered by size, and one place where k is chosen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin

from selfdebias.config.combinations import check_clustering
from selfdebias.config.ranges import SPACES
from selfdebias.modes.choice import Candidate, Silhouette, best_of_each_k, k_by_stability, stabilities
from selfdebias.modes.sphere import NOISE, Labels, Vectors, by_size, centers_of, nearest

IMAGE, RESIDUAL, PROJECTED = SPACES
ONE_MODE = "one mode: nothing to balance"


class Clustering(BaseEstimator):
    """What every option of `clustering` has: scikit-learn's contract, and the same refusals. There are two kinds.

    `ModeEstimator` puts each vector in one of several modes; `FactorialAxes` on one of the two sides of each of several axes.

    A subclass takes these hyper-parameters:
        space: what the stage hands over: `image`, embeddings as they are; `residual`, each prompt's mean taken away;
            `projected`, the projector's outputs at each timestep.
        random_state: seed of all random choices, at least 0.
    """

    space: str
    random_state: int

    def fit(self, X: np.ndarray, y: None = None) -> Self:
        """Find the modes, or the axes.

        Args:
            X: (N, d) unit vectors.
            y: ignored.

        Raises:
            ValueError: if a hyper-parameter is out of range, there are too few vectors, or all are equal.
        """
        X = np.asarray(X, dtype=np.float64)
        self.check(len(X))
        if np.allclose(X, X[0]):
            raise ValueError("`X` must hold different vectors, got equal ones: the model draws one image only.")
        self._learn(X)
        return self

    def check(self, n: int) -> None:
        """Refuse hyper-parameters out of range, and fewer than enough vectors, `n`.

        Raises:
            ValueError: with the first that is wrong.
        """
        check_clustering(self.get_params(), n)

    @abstractmethod
    def _learn(self, X: Vectors) -> None:
        """Set the attributes that end in `_`, from (N, d) float64 vectors that are not all equal."""


class ModeEstimator(ClusterMixin, Clustering):
    """Finds the modes of unit vectors; `_find` of a subclass says how.

    Modes are numbered by size, the largest first, so that a target by position means something. Where a clustering finds none,
    or more than one is not borne out, there is one mode.

    Attributes:
        labels_: (N,) int64, the mode of each fitted vector.
        centers_: (K, d) float64, unit vectors: the normalised means of the modes.
        depths_: (K,) int64, how often the cluster was split that a mode came out of; 0 without a recursion.
        noise_: fitted vectors that were in no mode, and went to the nearest.
        components_: pieces that the neighbour graph was in before they were linked; 1 where there is no graph.
        silhouette_: mean cosine silhouette of the modes; None for one mode. Above 4,000 vectors over a sample of them.
        silhouettes_: the same of each k that was tried; empty where none is.
        stabilities_: by k, the mean agreement (ARI) of the modes of two halves, where k is chosen by it; else empty.
    """

    def _learn(self, X: Vectors) -> None:
        self.silhouettes_: dict[int, float] = {}
        self.stabilities_: dict[int, float] = {}
        self.components_ = 1
        score = Silhouette(X, self.random_state)
        found, depths = self._find(X, score)
        self._number(X, found, depths)
        self.silhouette_ = score(self.labels_) if len(self.centers_) > 1 else None

    def predict(self, X: np.ndarray) -> Labels:
        """Return the mode (N,) with the nearest centre of vectors (N, d), by cosine."""
        return nearest(np.asarray(X, dtype=np.float64), self.centers_)

    @abstractmethod
    def _find(self, X: Vectors, score: Silhouette) -> tuple[Labels, Labels]:
        """Return labels (N,), any numbers from 0 or `NOISE`, and the depth of each label (its number + 1 of them at least)."""

    def _number(self, X: Vectors, found: Labels, depths: Labels) -> None:
        """Set what is learned, with noise in the nearest mode and modes by size."""
        noise = found == NOISE
        self.noise_ = int(noise.sum())
        if noise.all():
            found, depths = np.zeros(len(X), dtype=np.int64), np.zeros(1, dtype=np.int64)
        elif noise.any():
            names = np.unique(found[~noise])
            cores = centers_of(X[~noise], np.searchsorted(names, found[~noise]))
            found = np.where(noise, names[nearest(X, cores)], found)
        self.labels_, names = by_size(found)
        self.depths_ = np.asarray(depths, dtype=np.int64)[names]
        self.centers_ = centers_of(X, self.labels_)


class CountedModes(ModeEstimator):
    """A clustering into k modes, where k is given, or chosen from a range; `_try` of a subclass clusters into each k.

    A subclass takes these hyper-parameters beside those above:
        k_min: smallest number of modes that is tried, at least 2.
        k_max: largest number of modes that is tried, at least `k_min`.
        k: the number of modes, at least 1; None chooses it.
        choice: `silhouette`, the largest mean cosine silhouette; or `stability`, the largest k that is as stable between halves of
            the images as the most stable one, and one mode where none reaches 0.6.
    """

    k_min: int
    k_max: int
    k: int | None
    choice: str

    @abstractmethod
    def _try(self, X: Vectors, ks: Sequence[int]) -> Iterator[Candidate]:
        """Yield the clusterings into each of `ks`, several for one k where there is more than one way."""

    def _find(self, X: Vectors, score: Silhouette) -> tuple[Labels, Labels]:
        best = self._best(X, score)
        self.silhouettes_ = {k: it.silhouette for k, it in best.items()}
        k = self._chosen(X, best)
        if k == 1:
            return np.zeros(len(X), dtype=np.int64), np.zeros(1, dtype=np.int64)
        self._take(best[k])
        return best[k].labels, np.zeros(k, dtype=np.int64)

    def _take(self, chosen: Candidate) -> None:
        """Keep what is to be known of the clustering that was chosen."""
        self.components_ = chosen.components

    def _best(self, X: Vectors, score: Silhouette) -> Mapping[int, Candidate]:
        """Return the best clustering into each k; none where fewer modes came out than asked for."""
        ks = range(self.k_min, self.k_max + 1) if self.k is None else [self.k]
        tried = self._try(X, [k for k in ks if k > 1])
        return best_of_each_k((it for it in tried if len(np.unique(it.labels)) == it.k), score)

    def _chosen(self, X: Vectors, best: Mapping[int, Candidate]) -> int:
        if self.k == 1:
            return 1
        if not best:
            raise ValueError(
                f"`X` must hold as many different vectors as modes, got fewer than {self.k or self.k_min}."
            )
        if self.k is not None or self.choice == "silhouette":
            return max(best, key=lambda k: best[k].silhouette)

        def labels_of_each_k(half: Vectors) -> Mapping[int, Labels]:
            return {k: it.labels for k, it in self._best(half, Silhouette(half, self.random_state)).items()}

        agreement = stabilities(X, labels_of_each_k, self.random_state)
        self.stabilities_ = {k: float(values.mean()) for k, values in agreement.items()}
        return k_by_stability({k: values for k, values in agreement.items() if k in best})
