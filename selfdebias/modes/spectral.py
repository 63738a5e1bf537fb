"""Spectral clustering of unit vectors: their neighbour graph, its spectral map, and the clusters that stand out in the map.

One eigendecomposition serves every number of modes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh, qr, svd
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackError, eigsh
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.neighbors import NearestNeighbors

from selfdebias.modes.estimator import Candidate, CountedModes
from selfdebias.modes.placement import TINY, Labels, Vectors


class SpectralModes(CountedModes):
    """Finds modes as the spectral clusters of a k-nearest-neighbour graph.

    A narrow graph follows single images, a wide one blurs small modes: which is right depends on the number of images, so
    the silhouette chooses the width together with the number of modes.

    Args:
        k_min, k_max, k, choice: see `CountedModes`.
        n_neighbors: neighbours of each image in the graph, at least 1; each of them is tried.
        random_state, space: see `Clustering`.

    References:
        arXiv 2512.03749, section on semantic mode discovery; Rousseeuw, Silhouettes, 1987.
    """

    def __init__(
        self, k_min: int = 2, k_max: int = 8, n_neighbors: Sequence[int] = (10, 30), random_state: int = 0,
        k: int | None = None, choice: str = "silhouette", space: str = "image",
    ):  # fmt: skip
        super().__init__(k_min, k_max, random_state, k, choice, space)
        self.n_neighbors = n_neighbors

    def _try(self, X: Vectors, ks: Sequence[int]) -> Iterator[Candidate]:
        """Yield the clusters of each k on the graph of each width."""
        for width in sorted({min(n, len(X) - 1) for n in self.n_neighbors}) if ks else ():
            graph = neighbour_graph(X, width)
            columns = spectral_map(graph.affinity, max(ks), self.random_state)
            for k in ks:
                yield Candidate(k, cut(columns[:, :k]), width, graph.components)


class NeighbourGraph(NamedTuple):
    """A connected graph: symmetric `affinity` (N, N), sparse; and the pieces that it was in before they were joined."""

    affinity: Any
    components: int


def neighbour_graph(X: Vectors, width: int) -> NeighbourGraph:
    """Link each vector with its nearest ones, and pieces of the graph by the shortest edge out of each.

    A graph in pieces has no unique spectral map. More neighbours would join them too, but then all images of a small mode are
    linked with the same few of a large one, and pull these over. Memory grows with N times the width, never with N squared.

    Args:
        X: (N, d) unit vectors.
        width: neighbours of each, in [1, N).
    """
    near = NearestNeighbors(n_neighbors=width).fit(X).kneighbors(return_distance=False)
    ends = np.arange(0, near.size + 1, width, dtype=np.int32)
    graph = csr_array((np.ones(near.size), near.ravel().astype(np.int32), ends), shape=(len(X), len(X)))
    joined, components = _joined(X, graph)
    return NeighbourGraph(0.5 * (joined + joined.T), components)


def spectral_map(affinity: Any, columns: int, random_state: int) -> Vectors:
    """Return the leading eigenvectors of a graph's random walk, (N, columns) float64; the first k are the map for k clusters.

    They are those of ``D^(-1/2) W D^(-1/2)``, divided by ``D^(1/2)``. One decomposition serves every k.

    Args:
        affinity: (N, N) symmetric and sparse, in one piece.
        columns: in [1, N).
        random_state: seed of the solver's first vector.

    References:
        von Luxburg, A tutorial on spectral clustering, 2007, section 4.
    """
    scale = 1 / np.sqrt(affinity.sum(axis=1))
    normal = diags_array(scale) @ affinity @ diags_array(scale)
    start = np.random.default_rng(random_state).uniform(-1, 1, len(scale))
    try:
        _, vectors = eigsh(normal, k=columns, which="LA", v0=start)
    except ArpackError:  # of few images with nearly all of them linked, whose eigenvalues coincide
        _, vectors = eigh(normal.toarray(), subset_by_index=(len(scale) - columns, len(scale) - 1))
    return vectors[:, ::-1] * scale[:, None]


def cut(columns: Vectors) -> Labels:
    """Read k clusters off a spectral map (N, k), by pivoted QR: it depends on no start, and on no sign or rotation of the map.

    References:
        Damle, Minden and Ying, Simple, direct and efficient multi-way spectral clustering, arXiv 1708.07481, algorithm 1.

    Example:
        >>> cut(np.array([[1.0, 0.0], [1.0, 0.1], [0.1, -1.0]])).tolist() in ([0, 0, 1], [1, 1, 0])
        True
    """
    _, pivots = qr(columns.T, mode="r", pivoting=True)
    left, _, right = svd(columns[pivots[: columns.shape[1]]].T)
    return np.abs(columns @ (left @ right)).argmax(axis=1)


def _joined(X: Vectors, graph: Any) -> tuple[Any, int]:
    """Add the shortest edge out of each piece until there is one; returns the graph, and the pieces at first.

    The shortest of these edges weighs 1, as edges of neighbours do, and the others as much less as they are longer.
    """
    first, piece = connected_components(graph, directed=False)
    count, shortest = first, 0.0
    while count > 1:
        edges = [_way_out(X, piece == c) for c in range(count)]
        own, other, length = (np.array(values) for values in zip(*edges, strict=True))
        shortest = shortest or float(length.min())
        bridges = csr_array((shortest / length, (own.astype(np.int32), other.astype(np.int32))), shape=graph.shape)
        graph = graph.maximum(bridges)
        count, piece = connected_components(graph, directed=False)
    return graph, int(first)


def _way_out(X: Vectors, inside: np.ndarray) -> tuple[int, int, float]:
    """Return the nearest pair of a vector inside and one outside, and how far they are apart, above 0."""
    own, other = np.flatnonzero(inside), np.flatnonzero(~inside)
    to, distance = pairwise_distances_argmin_min(X[own], X[other])
    first = int(np.argmin(distance))
    return int(own[first]), int(other[to[first]]), max(float(distance[first]), TINY)
