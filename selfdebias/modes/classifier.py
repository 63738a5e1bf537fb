"""A classifier of `h_t`: which class an image will show, told by labels of finished images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from selfdebias.modes.bank import interpolate
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.readers import at_places
from selfdebias.storage.atomic import read_tensors, write_tensors
from selfdebias.storage.tensor_rows import TensorRows

C = 20.0  # inverse strength of the regularisation, for activations whose squared norm is 1 on average


@dataclass(frozen=True)
class ActivationClassifier:
    """A linear classifier for each branch and timestep.

    Attributes:
        timesteps: (T,) float32, ascending training timesteps.
        weights: (branches, T, K, C, H, W) float32.
        biases: (branches, T, K) float32.
    """

    timesteps: Tensor
    weights: Tensor
    biases: Tensor

    def logits(self, h: Tensor, timestep: float, branch: int) -> Tensor:
        """Return the logits (B, K), differentiable in `h` (B, C, h, w), which is averaged to the places that were fitted.

        Weights are linear between timesteps, constant beyond.
        """
        weights, bias = (interpolate(x[branch], self.timesteps, timestep).to(h) for x in (self.weights, self.biases))
        return at_places(h, weights.shape[2:]).flatten(1) @ weights.flatten(1).T + bias

    def over(self, projector: SemanticProjector) -> Self:
        """Return the classifier, at its timesteps the same one, of activations in a projector's standardised coordinates."""
        grid = projector.timesteps.cpu()
        centers, scales = (
            torch.stack([torch.stack([interpolate(own, grid, float(t)) for t in self.timesteps]) for own in it])
            for it in (projector.centers.cpu(), projector.scales.cpu())
        )  # (branches, T, C)
        shift = (self.weights * centers[:, :, None, :, None, None]).sum(dim=(3, 4, 5))
        return replace(self, weights=self.weights * scales[:, :, None, :, None, None], biases=self.biases + shift)

    def save(self, path: Path) -> None:
        """Write one safetensors file, atomically."""
        write_tensors(path, {"timesteps": self.timesteps, "weights": self.weights, "biases": self.biases})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**read_tensors(path)[0])


def fit_classifier(
    h: Tensor | TensorRows, labels: Tensor, timesteps: Tensor, branch_index: Tensor, branches: Sequence[str],
    places: Sequence[int],
) -> ActivationClassifier:  # fmt: skip
    """Fit a logistic regression at each timestep, with the activations of its two neighbours, since few were recorded at each.

    Args:
        h: (M, C, H, W) activations, in memory or on disk.
        labels: (M,) int64, the class of each one's final image, from 0.
        timesteps: (M,) training timesteps.
        branch_index: (M,) int64.
        branches: names of the branches.
        places: (h, w), which activations are averaged to: those that the projector reads, at which guidance sees them.

    Returns:
        The classifier; a timestep near which some class was never recorded is left out.

    Raises:
        ValueError: if that is so of all timesteps of a branch.

    References:
        Parihar et al., Balancing Act, arXiv 2402.18206, the attribute distribution predictor on h-space features.
    """
    grid, k = timesteps.unique().float(), int(labels.max()) + 1
    found: list[dict[float, tuple[Tensor, Tensor]]] = []
    for b in range(len(branches)):
        own: dict[float, tuple[Tensor, Tensor]] = {}
        for i, t in enumerate(grid.tolist()):
            near = (branch_index == b) & torch.isin(timesteps.float(), grid[max(0, i - 1) : i + 2])
            rows = torch.nonzero(near)[:, 0]
            if len(labels[rows].unique()) == k:
                own[t] = _fit(at_places(h[rows].float(), places), labels[rows])
        found.append(own)
    kept = [t for t in grid.tolist() if all(t in own for own in found)]
    if not kept:
        raise ValueError(f"`labels` must have images of all {k} classes near some timestep, got none: collect more.")
    weights, biases = (torch.stack([torch.stack([own[t][x] for t in kept]) for own in found]) for x in (0, 1))
    return ActivationClassifier(torch.tensor(kept), weights, biases)


def _fit(h: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (K, C, H, W) and biases (K,) of softmax regression on activations (n, C, H, W)."""
    from sklearn.linear_model import LogisticRegression  # here, since it is slow to import

    x = h.flatten(1)
    mean = x.mean(dim=0)
    scale = (x - mean).square().sum(dim=1).mean().sqrt().clamp(min=1e-12)
    fitted = LogisticRegression(C=C, max_iter=500).fit(((x - mean) / scale).numpy(), labels.numpy())
    weights, bias = (torch.from_numpy(a).float() for a in (fitted.coef_, fitted.intercept_))
    if len(weights) == 1:  # of two classes scikit-learn has one logit
        weights, bias = torch.cat([-weights, weights]) / 2, torch.cat([-bias, bias]) / 2
    weights = weights / scale
    return weights.reshape(-1, *h.shape[1:]), bias - weights @ mean
