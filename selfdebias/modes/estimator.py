"""What every clustering of modes has: scikit-learn's contract, modes numbered by size, and one place where k is chosen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.metrics.pairwise import cosine_distances

from selfdebias.config.combinations import check_clustering
from selfdebias.config.ranges import SPACES
from selfdebias.modes.placement import NOISE, Labels, Vectors, by_size, centers_of, nearest

IMAGE, RESIDUAL, PROJECTED = SPACES
ONE_MODE = "one mode: nothing to balance"
SAMPLE = 4000  # images that a silhouette is taken over, at most: its distances are squared in them
HALVES = 5  # pairs of halves that a stability is taken over
LEAST_STABILITY = 0.6  # agreement of halves below which there is one mode


class Candidate(NamedTuple):
    """One clustering that was tried: `labels` (N,) of k modes, on a graph of some neighbours where there was a graph."""

    k: int
    labels: Labels
    n_neighbors: int = 0
    components: int = 1
    silhouette: float = float("nan")


class Silhouette:
    """Mean cosine silhouette of clusterings of the same images; the distances are computed once.

    Args:
        X: (N, d) unit vectors. Above `SAMPLE` of them a random sample stands for all, the same one for each clustering.
        random_state: seed of the sample.

    References:
        Rousseeuw, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis, 1987.
    """

    def __init__(self, X: Vectors, random_state: int) -> None:
        self._rows = np.arange(len(X))
        if len(X) > SAMPLE:
            self._rows = np.sort(np.random.default_rng(random_state).permutation(len(X))[:SAMPLE])
        self._distances = cosine_distances(X[self._rows])

    def __call__(self, labels: Labels) -> float:
        """Return the silhouette, in [-1, 1]; -1 where the sample shows fewer than two modes, or each image is a mode."""
        shown = labels[self._rows]
        if not 2 <= len(np.unique(shown)) < len(shown):
            return -1.0
        return float(silhouette_score(self._distances, shown, metric="precomputed"))


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
            raise ValueError("`X` must hold different vectors, got equal ones: the model samples one image only.")
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
        n_neighbors_: the width of the graph that was taken; 0 where there is none, and for one mode.
        silhouette_: mean cosine silhouette of the modes; None for one mode. Above 4,000 vectors over a sample of them.
        silhouettes_: the same of each k that was tried; empty where none is.
        stabilities_: by k, the mean agreement (ARI) of the modes of two halves, where k is chosen by it; else empty.
    """

    def _learn(self, X: Vectors) -> None:
        self.silhouettes_: dict[int, float] = {}
        self.stabilities_: dict[int, float] = {}
        self.components_, self.n_neighbors_ = 1, 0
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

    def __init__(self, k_min: int, k_max: int, random_state: int, k: int | None, choice: str, space: str):
        self.k_min = k_min
        self.k_max = k_max
        self.random_state = random_state
        self.k = k
        self.choice = choice
        self.space = space

    @abstractmethod
    def _try(self, X: Vectors, ks: Sequence[int]) -> Iterator[Candidate]:
        """Yield the clusterings into each of `ks`, several for one k where there is more than one way."""

    def _find(self, X: Vectors, score: Silhouette) -> tuple[Labels, Labels]:
        best = self._best(X, score)
        self.silhouettes_ = {k: it.silhouette for k, it in best.items()}
        k = self._chosen(X, best)
        if k == 1:
            return np.zeros(len(X), dtype=np.int64), np.zeros(1, dtype=np.int64)
        self.components_, self.n_neighbors_ = best[k].components, best[k].n_neighbors
        return best[k].labels, np.zeros(k, dtype=np.int64)

    def _best(self, X: Vectors, score: Silhouette) -> Mapping[int, Candidate]:
        """Return for each k the clustering with the largest silhouette, the first of equals; none where fewer modes came out."""
        ks = range(self.k_min, self.k_max + 1) if self.k is None else [self.k]
        best: dict[int, Candidate] = {}
        for it in self._try(X, [k for k in ks if k > 1]):
            if len(np.unique(it.labels)) == it.k:
                scored = it._replace(silhouette=score(it.labels))
                if it.k not in best or scored.silhouette > best[it.k].silhouette:
                    best[it.k] = scored
        return dict(sorted(best.items()))

    def _chosen(self, X: Vectors, best: Mapping[int, Candidate]) -> int:
        if self.k == 1:
            return 1
        if not best:
            raise ValueError(
                f"`X` must hold as many different vectors as modes, got fewer than {self.k or self.k_min}."
            )
        if self.k is not None or self.choice == "silhouette":
            return max(best, key=lambda k: best[k].silhouette)
        agreement = self._agreement(X)
        self.stabilities_ = {k: float(values.mean()) for k, values in agreement.items()}
        return k_by_stability({k: values for k, values in agreement.items() if k in best})

    def _agreement(self, X: Vectors) -> dict[int, np.ndarray]:
        """Measure how far the modes of two random halves of the images agree on all images.

        Returns:
            By k, the adjusted Rand index of each of `HALVES` pairs of halves; only k that every half could be cut into.

        References:
            Ben-Hur, Elisseeff and Guyon, A stability based method for discovering structure in clustered data, 2002.
        """
        generator, pairs = np.random.default_rng(self.random_state), []
        for _ in range(HALVES):
            found = []
            for half in np.array_split(generator.permutation(len(X)), 2):
                tried = self._best(X[half], Silhouette(X[half], self.random_state)).items()
                found.append({k: nearest(X, centers_of(X[half], it.labels)) for k, it in tried})
            pairs.append({k: adjusted_rand_score(found[0][k], found[1][k]) for k in found[0].keys() & found[1].keys()})
        common = sorted(set.intersection(*(set(pair) for pair in pairs)))
        return {k: np.array([pair[k] for pair in pairs]) for k in common}


def k_by_stability(agreement: Mapping[int, np.ndarray]) -> int:
    """Return the largest k that is as stable as the most stable one, within that one's standard error; 1 if none is stable.

    Args:
        agreement: by k, the adjusted Rand indices of the pairs of halves.

    Example:
        >>> k_by_stability({2: np.array([0.9, 1.0]), 3: np.array([0.96, 0.94]), 4: np.array([0.5, 0.7])})
        3
        >>> k_by_stability({2: np.array([0.2, 0.4])})
        1
    """
    if not agreement:
        return 1
    best = max(agreement.values(), key=lambda values: float(values.mean()))
    if best.mean() < LEAST_STABILITY:
        return 1
    error = float(best.std(ddof=1)) / np.sqrt(len(best))
    return max(k for k, values in agreement.items() if values.mean() >= best.mean() - error - 1e-9)
