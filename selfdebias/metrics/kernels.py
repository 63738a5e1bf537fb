"""The kernels of KID and CMMD."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class PolynomialKernel:
    """Kernel `k(x, y) = (gamma x.y + coef)^degree` on features.

    Args:
        degree: at least 1; 3 as published for KID.
        gamma: above 0; 1 for unit vectors, 1 / d for Inception features.
        coef: constant.

    References:
        arXiv 1801.01401.
    """

    degree: int = 3
    gamma: float = 1.0
    coef: float = 1.0

    def __call__(self, x: Array, y: Array) -> Array:
        """Return the (N, M) kernel matrix of (N, d) and (M, d) features."""
        return (self.gamma * (x @ y.T) + self.coef) ** self.degree


@dataclass(frozen=True)
class GaussianKernel:
    """Kernel `k(x, y) = scale exp(-||x - y||^2 / (2 sigma^2))` on features.

    Args:
        sigma: width, above 0; 10 as published for CMMD, whose CLIP embeddings are unit vectors.
        scale: above 0; a squared MMD is linear in it. 1000 as published, to make the numbers readable.

    References:
        arXiv 2401.09603.
    """

    sigma: float = 10.0
    scale: float = 1000.0

    def __call__(self, x: Array, y: Array) -> Array:
        """Return the (N, M) kernel matrix of (N, d) and (M, d) features."""
        squares = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * (x @ y.T)
        return self.scale * np.exp(-squares.clip(0) / (2 * self.sigma**2))
