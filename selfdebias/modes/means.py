"""The modes' means in `h_t` itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.modes.bank import interpolate
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.readers import at_places
from selfdebias.storage.atomic import read_tensors, write_tensors
from selfdebias.storage.tensor_rows import TensorRows, rows_at_once


@dataclass(frozen=True)
class ModeMeans:
    """The means of K modes in `h_t` of the conditional branch, less the mean over the modes.

    Attributes:
        timesteps: (T,) float32, ascending training timesteps.
        deviations: (T, K, C, H, W) float16; they sum to 0 over the modes.
        scales: (T, C) float32, of the channels, which the deviations are divided by; None leaves them as they are.
    """

    timesteps: Tensor
    deviations: Tensor
    scales: Tensor | None = None

    def at(self, timestep: float, places: Sequence[int]) -> Tensor:
        """Return the deviations (K, C, h, w) float32 at any timestep: linear between the recorded ones, constant beyond them.

        Args:
            timestep: training timestep.
            places: (h, w) of the activations that they are for; of more than were recorded, each takes its nearest, and of
                fewer the mean.
        """
        found = interpolate(self.deviations, self.timesteps, timestep).float()
        if self.scales is not None:
            found = found / interpolate(self.scales, self.timesteps, timestep)[:, None, None]
        return F.interpolate(found, tuple(places)) if places[0] > found.shape[2] else at_places(found, places)

    def over(self, projector: SemanticProjector) -> ModeMeans:
        """Return the means in the coordinates that a projector standardises activations to."""
        own, grid = projector.scales[projector.branches.index("cond")].cpu(), projector.timesteps.cpu()
        scales = [interpolate(own, grid, float(t)) for t in self.timesteps]
        return replace(self, scales=torch.stack(scales))

    def only(self, modes: slice) -> ModeMeans:
        """Return the means of some modes."""
        return replace(self, deviations=self.deviations[:, modes])

    def save(self, path: Path) -> None:
        """Write one safetensors file, atomically."""
        write_tensors(path, {"timesteps": self.timesteps, "deviations": self.deviations})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**read_tensors(path)[0])


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
