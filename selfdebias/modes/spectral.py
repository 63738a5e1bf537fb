"""Spectral clustering of unit vectors, one eigendecomposition for every number of modes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from selfdebias.modes.choice import Candidate
from selfdebias.modes.estimator import CountedModes
from selfdebias.modes.graph import cut, neighbour_graph, spectral_map
from selfdebias.modes.sphere import Vectors


class SpectralModes(CountedModes):
    """Finds modes as the spectral clusters of a k-nearest-neighbour graph.

    A narrow graph follows single drawings, a wide one blurs small modes: which is right depends on the number of images, so
    the silhouette chooses the width together with the number of modes.

    Args:
        k_min, k_max, k, choice: see `CountedModes`.
        n_neighbors: neighbours of each image in the graph, at least 1; each of them is tried.
        random_state, space: see `ModeEstimator`.

    Attributes:
        n_neighbors_: the width of the graph that was taken; 0 for one mode.

    References:
        arXiv 2512.03749, section on semantic mode discovery; Rousseeuw, Silhouettes, 1987.
    """

    def __init__(
        self, k_min: int = 2, k_max: int = 8, n_neighbors: Sequence[int] = (10, 30), random_state: int = 0,
        k: int | None = None, choice: str = "silhouette", space: str = "image",
    ):  # fmt: skip
        self.k_min = k_min
        self.k_max = k_max
        self.n_neighbors = n_neighbors
        self.random_state = random_state
        self.k = k
        self.choice = choice
        self.space = space

    def _try(self, X: Vectors, ks: Sequence[int]) -> Iterator[Candidate]:
        """Yield the clusters of each k on the graph of each width."""
        self.n_neighbors_ = 0
        for width in sorted({min(n, len(X) - 1) for n in self.n_neighbors}) if ks else ():
            graph = neighbour_graph(X, width)
            columns = spectral_map(graph.affinity, max(ks), self.random_state)
            for k in ks:
                yield Candidate(k, cut(columns[:, :k]), width, graph.components)

    def _take(self, chosen: Candidate) -> None:
        super()._take(chosen)
        self.n_neighbors_ = chosen.n_neighbors

    def check(self, n: int) -> None:
        """See `ModeEstimator.check`."""
        super().check(n)
        widths = self.n_neighbors
        if isinstance(widths, int) or not len(widths) or min(widths) < 1:
            raise ValueError(f"`clustering.n_neighbors` must be a list of numbers of at least 1, got {widths}.")
