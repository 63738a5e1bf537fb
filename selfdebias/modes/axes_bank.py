"""The bank of several axes: where the two sides of each lie, at each recorded timestep and branch, in the projector's space."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.modes.bank import ModeBank
from selfdebias.modes.bank_fit import fit_temperatures
from selfdebias.storage.atomic import read_tensors, write_tensors

HALF = torch.full((2,), 0.5)
RIDGE = 1e-3  # of the least squares, as a share of the rows


@dataclass(frozen=True)
class AxesBank:
    """One bank of two modes, the sides, for each of A axes.

    Attributes:
        axes: the banks, all with the same branches, timesteps and encoder.
    """

    axes: tuple[ModeBank, ...]

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError("`axes` must hold at least one axis, got none.")

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches."""
        return self.axes[0].branches

    @property
    def timesteps(self) -> Tensor:
        """(T,) float32, ascending training timesteps."""
        return self.axes[0].timesteps

    @property
    def encoder(self) -> str:
        """Name of the encoder in whose space the axes were found."""
        return self.axes[0].encoder

    @property
    def target(self) -> Tensor:
        """(2 A,) float32, the wanted shares of the sides of one axis after the other."""
        return torch.cat([it.target for it in self.axes])

    origins = None  # axes hold for every prompt

    def save(self, path: Path) -> None:
        """Write the bank as one safetensors file, atomically."""
        banks = enumerate(self.axes)
        tensors = {f"axis-{a}/{name}": tensor.clone() for a, bank in banks for name, tensor in bank.tensors.items()}
        texts = {"axes": str(len(self.axes)), "branches": json.dumps(self.branches), "encoder": self.encoder}
        write_tensors(path, tensors, texts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        tensors, metadata = read_tensors(path)
        branches = tuple(json.loads(metadata["branches"]))
        banks = []
        for a in range(int(metadata["axes"])):
            own: dict[str, Any] = {
                name.split("/", 1)[1]: x for name, x in tensors.items() if name.startswith(f"axis-{a}/")
            }
            banks.append(ModeBank(branches, encoder=metadata["encoder"], **own))
        return cls(tuple(banks))


def load_bank(path: Path) -> ModeBank | AxesBank:
    """Read a bank of one partition, or of several axes."""
    _, metadata = read_tensors(path)
    return AxesBank.load(path) if "axes" in metadata else ModeBank.load(path)


def fit_axes_bank(
    z: Tensor, sides: Tensor, timesteps: Tensor, branch_index: Tensor, branches: tuple[str, ...], encoder: str = "",
    prompt_index: Tensor | None = None,
) -> AxesBank:  # fmt: skip
    """Fit projected vectors to the sides of all axes together, by least squares, at each timestep and branch.

    ``z = mu + sum_a side_a v_a + rest``; the coordinate ``u_a`` of an axis is what the pseudo-inverse of all directions `v` makes
    of ``z - mu``, so that an edit along one axis does not move the coordinates of the others. Its scores are ``cut - u_a`` for
    side 0 and ``u_a - cut`` for side 1. The cut is where as many recorded activations lie beyond it as there are images on side 1.

    Of several prompts each has a mean of its own, so that an attribute that goes with a prompt is not taken for the prompt; and
    coordinates hardly depend on differences between prompts, whose spread counts as noise in a generalised least squares.

    Args:
        z: (M, d) float32, unit vectors of recorded activations.
        sides: (M, A) int64, 0 or 1: those of the image that each belongs to.
        timesteps: (M,) float32, training timesteps.
        branch_index: (M,) int64, index into `branches`.
        branches: names of the branches.
        encoder: name of the encoder.
        prompt_index: (M,) int64, the prompt of each; None where there is one.

    Raises:
        ValueError: if a side of an axis has no activation in a branch.
    """
    grid, count = timesteps.unique(), sides.shape[1]
    _check_sides(sides, branch_index, branches)
    shape = (count, len(branches), len(grid))
    origins, duals = torch.zeros(*shape, z.shape[1]), torch.zeros(*shape, z.shape[1])
    for b in range(len(branches)):
        for i, t in enumerate(grid):
            own = branch_index == b
            rows = own & (timesteps == t)
            here = sides[rows]
            if len(here) <= 2 * count or not ((here == 0).any(0) & (here == 1).any(0)).all():
                rows = own  # too few at this timestep, or an axis without a side
            prompts = None if prompt_index is None else prompt_index[rows]
            origins[:, b, i], duals[:, b, i] = _axes_at(z[rows], sides[rows].float(), prompts)
    size = torch.stack([1 - sides.float().mean(0), sides.float().mean(0)], dim=1)  # (A, 2)
    banks = []
    for a in range(count):
        norm = duals[a].norm(dim=-1)
        unit = F.normalize(duals[a], dim=-1)
        centroids, where = torch.stack([-unit, unit], dim=2), {"origins": origins[a][None], "scales": 1 / norm}
        banks.append(ModeBank(branches, grid, centroids, size[a] * len(sides), HALF.clone(), encoder, **where))
    return AxesBank(tuple(banks))


def _axes_at(z: Tensor, sides: Tensor, prompts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the points (A, d) where each axis is cut, and the duals (A, d), of the activations (n, d) of one timestep."""
    if prompts is None or len(prompts.unique()) == 1:
        mean, directions, duals = _of_one_prompt(z, sides)
    else:
        mean, directions, duals = _among_prompts(z, sides, prompts)
    coordinates = (z.double() - mean) @ duals.T
    cuts = torch.stack(
        [torch.quantile(u, 1 - share) for u, share in zip(coordinates.T, sides.double().mean(0), strict=True)]
    )
    return (mean + cuts[:, None] * directions).float(), duals.float()


def _of_one_prompt(z: Tensor, sides: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean (d,) of side 0 of all axes, the directions (A, d) of least squares, and their duals (A, d), in float64."""
    design = torch.cat([torch.ones(len(z), 1), sides], dim=1).double()
    gram = design.T @ design + RIDGE * len(z) * torch.eye(design.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(gram, design.T @ z.double())
    mean, directions = solved[0], solved[1:]
    return mean, directions, torch.linalg.pinv(directions).T


def _among_prompts(z: Tensor, sides: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `_of_one_prompt` does, of several: each prompt has a mean of its own, and their spread counts as noise."""
    x, s = z.double(), sides.double()
    _, own = prompts.unique(return_inverse=True)
    member = F.one_hot(own).double()
    x_mean, s_mean = ((member.T @ it) / member.sum(0)[:, None] for it in (x, s))
    x_rest, s_rest = x - x_mean[own], s - s_mean[own]
    ridge = RIDGE * len(x) * torch.eye(s.shape[1], dtype=torch.float64)
    directions = torch.linalg.solve(s_rest.T @ s_rest + ridge, s_rest.T @ x_rest)
    places = x_mean - s_mean @ directions  # of each prompt, its mean where all sides are 0
    spread = places - places.mean(0)
    within = (x_rest - s_rest @ directions).square().mean()
    noise = spread.T @ spread / len(spread) + within * torch.eye(x.shape[1], dtype=torch.float64)
    weighed = torch.linalg.solve(noise, directions.T).T
    duals = torch.linalg.solve(weighed @ directions.T, weighed)
    return places.mean(0), directions, duals


def _check_sides(sides: Tensor, branch_index: Tensor, branches: Sequence[str]) -> None:
    for b, name in enumerate(branches):
        own = sides[branch_index == b]
        for side in (0, 1):
            empty = torch.nonzero(~(own == side).any(0)).flatten().tolist()
            if empty:
                raise ValueError(
                    f"`sides` must give both sides of every axis an activation, got none on side {side} of axes {empty} in "
                    f"the {name} branch."
                )


def calibrated(bank: AxesBank, z: Tensor, sides: Tensor, timesteps: Tensor, branch_index: Tensor) -> AxesBank:
    """Return the bank with the temperatures of each axis, fitted on held-out activations; arguments as in `fit_axes_bank`."""
    fitted = [fit_temperatures(z, sides[:, a], timesteps, branch_index, axis) for a, axis in enumerate(bank.axes)]
    return AxesBank(tuple(replace(axis, temperatures=it) for axis, it in zip(bank.axes, fitted, strict=True)))
