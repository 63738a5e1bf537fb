"""KID, CMMD and k-NN precision as they are published, to hold the numbers of a whole evaluation against."""

from __future__ import annotations

from numpy.typing import ArrayLike

from selfdebias.metrics.distances import mmd
from selfdebias.metrics.metric import GaussianKernel, PolynomialKernel
from selfdebias.metrics.quality import knn_covered


def kid(x: ArrayLike, y: ArrayLike, kernel: PolynomialKernel | None = None) -> float:
    return mmd(x, y, kernel or PolynomialKernel())


def cmmd(x: ArrayLike, y: ArrayLike) -> float:
    return mmd(x, y, GaussianKernel())


def knn_precision(real: ArrayLike, fake: ArrayLike, k: int = 3) -> float:
    """Share of fake points inside the ball of any real point."""
    return float(knn_covered(real, fake, k).mean())
