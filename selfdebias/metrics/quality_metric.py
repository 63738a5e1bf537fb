"""Quality as `torchmetrics.Metric`: float64 sums where a measure is a function of sums, else the features themselves."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from selfdebias.metrics.clip_score import clip_scores
from selfdebias.metrics.frechet import frechet_of, moments_from_sums
from selfdebias.metrics.mmd import GaussianKernel, Kernel, PolynomialKernel, mmd
from selfdebias.metrics.neighbours import coverage, density, knn_precision, knn_recall

_SIDES = ("real", "fake")


def _double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


class FrechetDistance(Metric):
    """Frechet distance of generated images from real ones; the key is `frechet`, FID under Inception-v3 features.

    States are sums: images, features (d,) and outer products (d, d) of each side, float64. Sums over devices admit no
    shift by a mean, so that features with a mean above about 1e4 of their spread lose digits, unlike in `moments`.

    Args:
        dim: width d of the features.

    Example:
        >>> x = torch.linspace(-1, 1, 40)[:, None]
        >>> metric = FrechetDistance(dim=1)
        >>> metric.update(x, real=True)
        >>> metric.update(x + 2, real=False)
        >>> round(float(metric.compute()["frechet"]), 4)
        4.0
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"`dim` must be at least 1, got {dim}.")
        self.dim = dim
        for side in _SIDES:
            for name, shape in (("n", ()), ("sum", (dim,)), ("outer", (dim, dim))):
                self.add_state(f"{side}_{name}", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """Add a batch of features, (B, d) float, of real or of generated images."""
        if features.shape[1:] != (self.dim,):
            raise ValueError(f"`features` must have shape (B, {self.dim}), got {tuple(features.shape)}.")
        x, side = features.double(), _SIDES[not real]
        for name, value in (("n", len(x)), ("sum", x.sum(0)), ("outer", x.T @ x)):
            setattr(self, f"{side}_{name}", getattr(self, f"{side}_{name}") + value)

    def compute(self) -> dict[str, Tensor]:
        """Return `frechet`, a float64 scalar; raises as `frechet_of` does."""
        sums = [[getattr(self, f"{side}_{name}").cpu().numpy() for name in ("n", "sum", "outer")] for side in _SIDES]
        real, fake = (moments_from_sums(int(n), total, outer) for n, total, outer in sums)
        return {"frechet": _double(frechet_of(real, fake))}


class _TwoSets(Metric):
    """Keeps the features of both sides, as they came: a measure of pairs of images is a function of no fixed sums."""

    full_state_update = False
    is_differentiable = False
    real: list[Tensor] | Tensor
    fake: list[Tensor] | Tensor

    def __init__(self) -> None:
        super().__init__()
        for side in _SIDES:
            self.add_state(side, [], dist_reduce_fx="cat")

    def update(self, features: Tensor, real: bool) -> None:
        """Add a batch of features, (B, d) float, of real or of generated images."""
        getattr(self, _SIDES[not real]).append(features.detach())

    def _sets(self) -> tuple[np.ndarray, np.ndarray]:
        """Return real and generated features, (N, d) and (M, d)."""
        real, fake = (self._joined(kept) for kept in (self.real, self.fake))
        return real, fake

    @staticmethod
    def _joined(kept: list[Tensor] | Tensor) -> np.ndarray:
        """Join a state: a list of batches, or one tensor once it was gathered over devices."""
        batches = kept if isinstance(kept, list) else [kept]
        return torch.cat(batches).cpu().numpy() if batches else np.zeros((0, 0))


class KernelDistance(_TwoSets):
    """Kernel distances of generated images from real ones, `kid` and `cmmd`: unbiased, so they may fall below 0.

    States are the features themselves, concatenated: with the cubic kernel sums would need d^3 entries, with the
    Gaussian one infinitely many.

    Args:
        kid_gamma: factor of the inner product in KID's cubic kernel: 1 for unit vectors, 1 / d for Inception features.
        cmmd_sigma: width of CMMD's Gaussian kernel; 10 as published, for unit vectors.

    Example:
        >>> metric = KernelDistance()
        >>> metric.update(torch.zeros(2, 1), real=True)
        >>> metric.update(torch.ones(2, 1), real=False)
        >>> {key: round(float(value), 4) for key, value in metric.compute().items()}
        {'kid': 7.0, 'cmmd': 9.975}
    """

    higher_is_better = False

    def __init__(self, kid_gamma: float = 1.0, cmmd_sigma: float = 10.0) -> None:
        super().__init__()
        for name, value in (("kid_gamma", kid_gamma), ("cmmd_sigma", cmmd_sigma)):
            if value <= 0:
                raise ValueError(f"`{name}` must be above 0, got {value}.")
        self.kernels: dict[str, Kernel] = {"kid": PolynomialKernel(gamma=kid_gamma), "cmmd": GaussianKernel(cmmd_sigma)}

    def compute(self) -> dict[str, Tensor]:
        """Return `kid` and `cmmd`, float64 scalars; raises as `mmd` does."""
        real, fake = self._sets()
        return {key: _double(mmd(fake, real, kernel)) for key, kernel in self.kernels.items()}


class KNNPrecisionRecall(_TwoSets):
    """Nearest-neighbour measures of generated images against real ones: `precision`, `recall`, `density`, `coverage`.

    States are the features themselves, concatenated: whose neighbour a point is, no sum tells.

    Args:
        nearest: k, at least 1.

    Example:
        >>> metric = KNNPrecisionRecall(nearest=1)
        >>> metric.update(torch.tensor([[0.0], [1.0], [9.0], [10.0]]), real=True)
        >>> metric.update(torch.tensor([[0.25], [0.5], [0.75]]), real=False)
        >>> {key: float(value) for key, value in metric.compute().items()}
        {'precision': 1.0, 'recall': 0.5, 'density': 2.0, 'coverage': 0.5}
    """

    higher_is_better = True

    def __init__(self, nearest: int = 3) -> None:
        super().__init__()
        if nearest < 1:
            raise ValueError(f"`nearest` must be at least 1, got {nearest}.")
        self.nearest = nearest

    def compute(self) -> dict[str, Tensor]:
        """Return the four shares, float64 scalars; raises as `knn_covered` does."""
        sets = self._sets()
        measures = {"precision": knn_precision, "recall": knn_recall, "density": density, "coverage": coverage}
        return {key: _double(measure(*sets, self.nearest)) for key, measure in measures.items()}


class ClipScore(Metric):
    """Mean CLIP score of images against their texts, `clip_score` in [0, 100], over `n` images; NaN over none.

    States are sums, float64.

    Example:
        >>> metric = ClipScore()
        >>> metric.update(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.6, 0.8], [-1.0, 0.0]]))
        >>> round(float(metric.compute()["clip_score"]), 4)
        30.0
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    total: Tensor
    n: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "n"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, e: Tensor, text_e: Tensor) -> None:
        """Add a batch of embeddings, (B, d) float each: of images, and of the texts that they were drawn from."""
        self.total += float(clip_scores(e.detach().cpu().numpy(), text_e.detach().cpu().numpy()).sum())
        self.n += len(e)

    def compute(self) -> dict[str, Tensor]:
        """Return `clip_score` and `n`, float64 scalars."""
        return {"clip_score": self.total / self.n, "n": self.n.clone()}
