"""Gaussian mixtures of unit vectors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from selfdebias.modes.estimator import Candidate, CountedModes
from selfdebias.modes.placement import Vectors


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
