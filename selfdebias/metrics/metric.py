"""What a metric is, the hyper-parameters of all metrics, and the kernels that they choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the command line writes numbers before torch is there
    from torch import Tensor

    from selfdebias.metrics.arms import ArmData
    from selfdebias.metrics.intervals import BlockBootstrap, Draws
    from selfdebias.metrics.number import Number

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]
INCEPTION = "inception-v3-2015-12-05"  # the features of published FID figures, by their `encoder_id`


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


class FeatureExtractor(Protocol):
    """What makes the features that images are compared by: an encoder, or `InceptionFeatures`. Frozen."""

    @property
    def dim(self) -> int:
        """Width of the features."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Return features (B, dim) float32 of images (B, 3, H, W) float32 in [0, 1]."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of the weights, loading none."""
        ...


@dataclass(frozen=True)
class MetricSuite:
    """Fixed choices of the quality metrics and of the intervals.

    Args:
        nearest: k of k-NN precision and recall; 3 in Kynkaanniemi et al.
        kid_degree: degree of the polynomial kernel of KID; 3 as published.
        kid_gamma: factor of the inner product in that kernel; 1.0 suits unit vectors. For Inception features take
            1 / d, as published.
        kid_coef: constant of that kernel; 1.0 as published.
        cmmd_sigma: width of the Gaussian kernel of CMMD; 10 as published, for unit vectors.
        cmmd_scale: factor of CMMD; 1000 as published.
        features: what the Frechet distance, KID, precision and recall compare images by; None for the embeddings of the
            job's encoder, which CMMD compares them by in any case.
        level: coverage of the intervals, in (0, 1).

    Raises:
        ValueError: if a value is out of its range, or `features` is no extractor.

    References:
        arXiv 1904.06991 (k-NN precision and recall), arXiv 1801.01401 (KID), arXiv 2401.09603 (CMMD).
    """

    nearest: int = 3
    kid_degree: int = 3
    kid_gamma: float = 1.0
    kid_coef: float = 1.0
    cmmd_sigma: float = 10.0
    cmmd_scale: float = 1000.0
    features: FeatureExtractor | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        for name in ("nearest", "kid_degree"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        for name in ("kid_gamma", "cmmd_sigma", "cmmd_scale"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be above 0, got {getattr(self, name)}.")
        if not 0 < self.level < 1:
            raise ValueError(f"`level` must be between 0 and 1, got {self.level}.")
        if self.features is not None and not (callable(self.features) and hasattr(self.features, "fingerprint")):
            kind = type(self.features).__name__
            raise ValueError(
                f"`features` must be null or the _target_ of an encoder or of InceptionFeatures, got a {kind}."
            )

    @property
    def kid_kernel(self) -> PolynomialKernel:
        """The kernel of KID."""
        return PolynomialKernel(self.kid_degree, self.kid_gamma, self.kid_coef)

    @property
    def cmmd_kernel(self) -> GaussianKernel:
        """The kernel of CMMD, its scale included."""
        return GaussianKernel(self.cmmd_sigma, self.cmmd_scale)

    def fingerprint(self) -> str:
        """Return the extractor's fingerprint, so that other weights give another key; raises as it does."""
        return "no extractor" if self.features is None else self.features.fingerprint()

    def described_features(self) -> dict[str, Any] | None:
        """Say what the extractor is, for `results.json`: name, dimension, resize rule, weights; None without one."""
        if self.features is None:
            return None
        name = getattr(self.features, "encoder_id", type(self.features).__name__)
        resize = getattr(self.features, "resize_rule", "the encoder's own preprocessing")
        return {"name": name, "dim": self.features.dim, "resize": resize, "weights": self.features.fingerprint()}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number of an arm, and what tables, notes and plots say of it.

    Attributes:
        key: its name in `results.json`, or its path there, joined by "/" as in `results.csv`.
        title: its heading in tables.
        meaning: one sentence for readers of a table, without its name.
        better: "lower" or "higher".
    """

    key: str
    title: str
    meaning: str
    better: str = "lower"

    @property
    def in_words(self) -> str:
        """The note under a table."""
        return f"{self.title}: {self.meaning}"


@dataclass(frozen=True, kw_only=True)
class ReferenceMetric(Metric):
    """A metric that holds the images of an arm against the reference images.

    Evaluation measures it for each arm, and its floor, the same of the vanilla arm; `results.json`, `results.csv`, W&B, the
    tables and the notes have it by what is said here.

    Attributes:
        measure: the arm's images, the reference images, the hyper-parameters of the metrics, and the bootstrap, None where
            no interval is needed; to its number. Raises `ValueError` where there are too few images: that is the reason of a null.
        draws: the same images, to its value and those on resamples of their blocks, by which the difference of two arms is bounded
            (`metrics.differences`); None for one whose differences are not.
        interval: whether `measure` bounds it.
        by_encoder: whether it compares the encoder's embeddings `e` always, in place of `compared`.
        labelled: whether its heading names the features that it is measured by.
        in_sweeps: whether the table of a sweep has a column of it.
    """

    measure: Callable[[ArmData, ArmData, MetricSuite, BlockBootstrap | None], Number]
    draws: Callable[[ArmData, ArmData, MetricSuite, BlockBootstrap], Draws] | None = None
    interval: bool = True
    by_encoder: bool = False
    labelled: bool = False
    in_sweeps: bool = True
