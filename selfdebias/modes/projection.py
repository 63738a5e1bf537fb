"""The semantic projector `z = phi(h_t, t)`: from the bottleneck to the encoder's embedding space."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfdebias.config.ranges import check_values
from selfdebias.modes.bank import interpolate
from selfdebias.modes.readers import READERS, Reader, at_places, averaged
from selfdebias.storage.atomic import read_tensors, write_tensors
from selfdebias.storage.tensor_rows import TensorRows, in_parts

FREQUENCIES = 16  # sines and cosines of the timestep
EMBEDDED = 128  # width of a learned embedding of the step
ACTIVATIONS: Mapping[str, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU}


class SinusoidalTime(nn.Module):
    """Sines and cosines of the training timestep, and the branch one-hot: any timestep of any sampler can be read."""

    def __init__(self, branches: int):
        super().__init__()
        self.branches, self.width = branches, 2 * FREQUENCIES + branches

    def forward(self, timestep: Tensor, branch: Tensor, grid: Tensor) -> Tensor:
        """Return (B, width)."""
        frequencies = torch.exp(torch.linspace(0, math.log(1e-4), FREQUENCIES, device=timestep.device))
        angles = timestep.float()[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos(), F.one_hot(branch, self.branches).to(angles)], dim=1)


class StepEmbedding(nn.Module):
    """A learned embedding of the recorded step, the same for both branches; of a timestep between two, that of the nearer one.

    References:
        The authors' code of arXiv 2512.03749.
    """

    def __init__(self, steps: int):
        super().__init__()
        self.embedding, self.width = nn.Embedding(steps, EMBEDDED), EMBEDDED

    def forward(self, timestep: Tensor, branch: Tensor, grid: Tensor) -> Tensor:
        """Return (B, width)."""
        return self.embedding((timestep[:, None] - grid.to(timestep)).abs().argmin(dim=1))


class SemanticProjector(nn.Module):
    """An MLP on the standardised activation, and an embedding of the timestep and the branch.

    Args:
        shape: (C, H, W) of `h_t`.
        dim: d, width of the encoder's embeddings.
        hidden: width of the hidden layers.
        branches: names of the branches that it knows.
        timesteps: T recorded training timesteps, ascending: where centres and scales are known.
        dropout: share of hidden units dropped in training, in [0, 1).
        encoder: name of the encoder whose space it maps to.
        reader: how it reads `h_t`: ``flattened``, ``pooled`` or ``convolutional``.
        layers: number of hidden layers, at least 1.
        activation: of the hidden layers, ``silu`` or ``relu``.
        time: how the time enters: ``sinusoidal``, the training timestep and the branch; or ``step``, a learned embedding
            of the recorded step.
        standardised: whether the channel means and scales of each timestep and branch are taken out of `h_t` first.
        relative_to: what the size of an edit is a fraction of: the ``activation``; or the ``standardised`` one, in whose
            coordinates the edit is then found (`selfdebias.guidance.standardised`).
        block: of a transformer, after which `h_t` stands; None in a UNet.
        places: (H, W) of `h_t`, where it was averaged to those of `shape`; None where it was not.

    Raises:
        ValueError: if there is no such reader, activation or time.

    References:
        arXiv 2512.03749, semantic projection: there one hidden layer of ReLU on the plain activation, and ``time="step"``.
        Sinusoidal timesteps let any sampler be used.
    """

    timesteps: Tensor
    centers: Tensor
    scales: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        dim: int,
        hidden: int,
        branches: Sequence[str],
        timesteps: Tensor,
        dropout: float = 0.0,
        encoder: str = "",
        reader: str = "flattened",
        layers: int = 2,
        activation: str = "silu",
        time: str = "sinusoidal",
        standardised: bool = True,
        relative_to: str = "activation",
        block: int | None = None,
        places: Sequence[int] | None = None,
    ):
        super().__init__()
        check_values(
            "projector", {"reader": reader, "time": time, "activation": activation, "relative_to": relative_to}
        )
        if relative_to == "standardised" and not standardised:
            raise ValueError(
                "`projector.relative_to` must be activation without `projector.standardised`, got 'standardised'."
            )
        self.shape, self.dim, self.branches = tuple(shape), dim, tuple(branches)
        self.encoder, self.reader, self.standardised = encoder, reader, standardised
        self.relative_to, self.block = relative_to, block
        self.places = tuple(places or self.shape[1:])
        self.design = {
            "shape": self.shape, "dim": dim, "hidden": hidden, "branches": self.branches, "dropout": dropout,
            "encoder": encoder, "reader": reader, "layers": layers, "activation": activation, "time": time,
            "standardised": standardised, "relative_to": relative_to, "block": block, "places": places and list(places),
        }  # fmt: skip
        self.read: Reader = READERS[reader](self.shape)
        grid = torch.as_tensor(timesteps, dtype=torch.float32)
        self.tell = SinusoidalTime(len(self.branches)) if time == "sinusoidal" else StepEmbedding(len(grid))
        widths = [self.read.width + self.tell.width, *[hidden] * layers]
        blocks = [
            (nn.Linear(before, after), ACTIVATIONS[activation](), nn.Dropout(dropout))
            for before, after in pairwise(widths)
        ]
        self.layers = nn.Sequential(*(part for block in blocks for part in block), nn.Linear(hidden, dim))
        rows = len(self.branches), len(grid), self.shape[0]
        self.register_buffer("timesteps", grid)
        self.register_buffer("centers", torch.zeros(rows))
        self.register_buffer("scales", torch.ones(rows))

    @property
    def blocks(self) -> list[int] | None:
        """After which blocks a hook is to read; None in a UNet."""
        return None if self.block is None else [self.block]

    def standardise(self, h: Tensor, timestep: Tensor, branch: Tensor) -> Tensor:
        """Take the channel means away and divide by the channel scales of the timestep and branch, where that is asked for.

        Args:
            h: (B, C, H, W); of more places than were fitted, it is averaged to those.
            timestep: (B,) float32 training timesteps.
            branch: (B,) int64 index into `branches`.

        Returns:
            (B, C, h, w) float32, of the places that were fitted, about zero mean and unit variance; the activations themselves
            where they are not standardised.
        """
        h = at_places(averaged(h), self.shape[1:])  # by the same two means as what it was fitted on
        if not self.standardised:
            return h
        center, scale = self.moments(timestep, branch)
        return (h - center.to(h.device)) / scale.to(h.device)

    def moments(self, timestep: Tensor, branch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and scales of the channels, (B, C, 1, 1) float32 on the CPU each; arguments as in `standardise`."""
        center, scale = torch.empty(2, len(branch), self.shape[0])
        for b, t in {(int(b), float(t)) for b, t in zip(branch, timestep, strict=True)}:
            rows = ((branch == b) & (timestep == t)).cpu()
            center[rows] = interpolate(self.centers[b].cpu(), self.timesteps.cpu(), t)
            scale[rows] = interpolate(self.scales[b].cpu(), self.timesteps.cpu(), t)
        return center[:, :, None, None], scale[:, :, None, None]

    def project(self, x: Tensor, timestep: Tensor, branch: Tensor) -> Tensor:
        """Return unit vectors (B, d) for standardised activations (B, C, H, W)."""
        time = self.tell(timestep, branch, self.timesteps)
        return F.normalize(self.layers(torch.cat([self.read(x), time], dim=1)), dim=-1)

    def forward(self, h: Tensor, timestep: Tensor, branch: Tensor) -> Tensor:
        """Return `z` (B, d) float32 unit vectors; arguments as in `standardise`."""
        return self.project(self.standardise(h, timestep, branch), timestep, branch)

    def fit_scales(self, h: Tensor | TensorRows, timestep: Tensor, branch: Tensor) -> None:
        """Learn the channel means and scales of recorded activations, in memory or on disk, by timestep and branch.

        A scale is at least 1e-3 of the mean scale, so that a dead channel divides by nothing small.
        """
        moments = torch.zeros(
            2, *self.centers.shape, dtype=torch.float64
        )  # sums over rows of the mean and the mean square
        count = torch.zeros(*self.centers.shape[:2], 1, dtype=torch.float64)
        for part, t, b in in_parts(h, timestep, branch):
            x, place = at_places(part.double(), self.shape[1:]), (b, torch.searchsorted(self.timesteps, t))
            for moment, values in zip(moments, (x, x.square()), strict=True):
                moment.index_put_(place, values.mean(dim=(2, 3)), accumulate=True)
            count.index_put_(place, torch.ones(len(x), 1, dtype=torch.float64), accumulate=True)
        mean, square = moments / count.clamp(min=1)
        scale = (square - mean.square()).clamp(min=0).sqrt()
        scale = scale.maximum(1e-3 * scale.mean(dim=2, keepdim=True) + 1e-12)
        self.centers[:], self.scales[:] = mean, torch.where(count > 0, scale, 1.0)

    def save(self, path: Path) -> None:
        """Write weights and shape as one safetensors file, atomically."""
        write_tensors(
            path, {k: v.contiguous() for k, v in self.state_dict().items()}, {"projector": json.dumps(self.design)}
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; frozen, in evaluation mode."""
        weights, metadata = read_tensors(path)
        projector = cls(**json.loads(metadata["projector"]), timesteps=weights["timesteps"])
        projector.load_state_dict(weights)
        return projector.eval().requires_grad_(False)
