"""Where the modes lie in the activations themselves: each mode's mean `h_t` against that of all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor

from selfdebias.modes.bank import interpolate
from selfdebias.storage.atomic import write_tensors


@dataclass(frozen=True)
class ModeMeans:
    """The means of K modes in `h_t` of the conditional branch, less the mean over the modes.

    Attributes:
        timesteps: (T,) float32, ascending training timesteps.
        deviations: (T, K, C, H, W) float16; they sum to 0 over the modes.
    """

    timesteps: Tensor
    deviations: Tensor

    def at(self, timestep: float) -> Tensor:
        """Return the deviations (K, C, H, W) float32 at any timestep: linear between the recorded ones, constant beyond them."""
        return interpolate(self.deviations, self.timesteps, timestep).float()

    def save(self, path: Path) -> None:
        """Write one safetensors file, atomically."""
        tensors = {"timesteps": self.timesteps, "deviations": self.deviations.contiguous()}
        write_tensors(path, tensors, {})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**load_file(path))


def fit_means(h: Tensor, labels: Tensor, timesteps: Tensor, n_modes: int) -> ModeMeans:
    """Average activations by mode and timestep.

    Args:
        h: (M, C, H, W) activations of one branch.
        labels: (M,) int64, the mode of each one's final image.
        timesteps: (M,) float32, training timesteps.
        n_modes: K.

    Returns:
        The means. A mode that was never recorded at a timestep has there the mean of its deviations at the others.
    """
    grid = timesteps.unique()
    deviations = torch.full((len(grid), n_modes, *h.shape[1:]), float("nan"))
    for i, t in enumerate(grid):
        means = [h[(timesteps == t) & (labels == k)].float() for k in range(n_modes)]
        known = [k for k, rows in enumerate(means) if len(rows)]
        center = torch.stack([means[k].mean(dim=0) for k in known]).mean(dim=0)
        if len(known) > 1:  # one mode alone says nothing of what tells it from the others
            for k in known:
                deviations[i, k] = means[k].mean(dim=0) - center
    over_time = deviations.nanmean(dim=0, keepdim=True).nan_to_num()
    filled = torch.where(deviations.isnan(), over_time, deviations)
    filled = filled - filled.mean(dim=1, keepdim=True)
    return ModeMeans(grid, filled.half())
