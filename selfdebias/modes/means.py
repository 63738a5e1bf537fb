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
from selfdebias.storage.tensor_rows import TensorRows, rows_at_once


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

    def only(self, modes: slice) -> ModeMeans:
        """Return the means of some modes."""
        return ModeMeans(self.timesteps, self.deviations[:, modes])

    def save(self, path: Path) -> None:
        """Write one safetensors file, atomically."""
        tensors = {"timesteps": self.timesteps, "deviations": self.deviations.contiguous()}
        write_tensors(path, tensors, {})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**load_file(path))


def fit_means(h: Tensor | TensorRows, labels: Tensor, timesteps: Tensor, n_modes: int) -> ModeMeans:
    """Average activations by mode and timestep.

    Args:
        h: (M, C, H, W) activations of one branch, in memory or on disk.
        labels: (M,) int64, the mode of each one's final image.
        timesteps: (M,) float32, training timesteps.
        n_modes: K.

    Returns:
        The means. A mode that was never recorded at a timestep has there the mean of its deviations at the others.
    """
    grid = timesteps.unique()
    deviations = torch.full((len(grid), n_modes, *h.shape[1:]), float("nan"))
    for i, t in enumerate(grid):
        here = torch.nonzero(timesteps == t)[:, 0]
        counts = torch.bincount(labels[here], minlength=n_modes)
        known = torch.nonzero(counts)[:, 0]
        sums = torch.zeros(n_modes, *h.shape[1:], dtype=torch.float64)
        for some in here.split(rows_at_once(h)):
            sums.index_add_(0, labels[some], h[some].double())
        means = sums[known] / counts[known, None, None, None]
        if len(known) > 1:  # one mode alone does not show how it differs from the others
            deviations[i, known] = (means - means.mean(dim=0)).float()
    over_time = deviations.nanmean(dim=0, keepdim=True).nan_to_num()
    filled = torch.where(deviations.isnan(), over_time, deviations)
    filled = filled - filled.mean(dim=1, keepdim=True)
    return ModeMeans(grid, filled.half())
