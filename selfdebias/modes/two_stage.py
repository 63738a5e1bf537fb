"""The paper's clustering: spectral clusters, each of them halved again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from selfdebias.modes.estimator import Silhouette
from selfdebias.modes.placement import Labels, Vectors
from selfdebias.modes.spectral import SpectralModes, cut, neighbour_graph, spectral_map


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
