"""How many modes there are: by silhouette, or by how far two halves of the images agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.metrics.pairwise import cosine_distances

from selfdebias.modes.sphere import Labels, Vectors, centers_of, nearest

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
        n = len(X)
        self._rows = np.arange(n)
        if n > SAMPLE:
            self._rows = np.sort(np.random.default_rng(random_state).permutation(n)[:SAMPLE])
        self._distances = cosine_distances(X[self._rows])

    def __call__(self, labels: Labels) -> float:
        """Return the silhouette, in [-1, 1]; -1 where the sample shows fewer than two modes, or each image is a mode."""
        shown = labels[self._rows]
        if not 2 <= len(np.unique(shown)) < len(shown):
            return -1.0
        return float(silhouette_score(self._distances, shown, metric="precomputed"))


def best_of_each_k(candidates: Iterable[Candidate], silhouette: Callable[[Labels], float]) -> dict[int, Candidate]:
    """Keep for each k the candidate with the largest silhouette, the first of equals, with its silhouette written in."""
    best: dict[int, Candidate] = {}
    for candidate in candidates:
        scored = candidate._replace(silhouette=silhouette(candidate.labels))
        if candidate.k not in best or scored.silhouette > best[candidate.k].silhouette:
            best[candidate.k] = scored
    return dict(sorted(best.items()))


def stabilities(X: Vectors, try_all: Callable[[Vectors], Mapping[int, Labels]], seed: int) -> dict[int, np.ndarray]:
    """Measure how far the modes of two random halves of the images agree on all images.

    Args:
        X: (N, d) unit vectors.
        try_all: returns for some vectors the labels of each k that is tried.
        seed: of the halves.

    Returns:
        By k, the adjusted Rand index of each of `HALVES` pairs of halves; only k that every half could be cut into.

    References:
        Ben-Hur, Elisseeff and Guyon, A stability based method for discovering structure in clustered data, 2002.
    """
    generator = np.random.default_rng(seed)
    pairs = []
    for _ in range(HALVES):
        found = []
        for half in np.array_split(generator.permutation(len(X)), 2):
            tried = try_all(X[half]).items()
            found.append({k: nearest(X, centers_of(X[half], labels)) for k, labels in tried})
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
