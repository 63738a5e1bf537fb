"""Fits a mode bank to projected vectors: the centroids of one prompt or of several, one axis between two modes, several axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.modes.bank import AxesBank, ModeBank

NARROW = 0.1  # of the mean half-distance: a smaller half-distance at a timestep counts as this
HALF = torch.full((2,), 0.5)
RIDGE = 1e-3  # of the least squares, as a share of the rows


def fit_bank(
    z: Tensor, labels: Tensor, timesteps: Tensor, branch_index: Tensor, branches: tuple[str, ...], target: Tensor
) -> ModeBank:
    """Average projected vectors into centroids.

    Args:
        z: (M, d) float32, unit vectors of recorded activations.
        labels: (M,) int64, the mode of the image that each belongs to.
        timesteps: (M,) float32, training timesteps.
        branch_index: (M,) int64, index into `branches`.
        branches: names of the branches.
        target: (K,) shares.

    Returns:
        The bank. A mode that was never recorded at a timestep takes its mean over all timesteps there.

    Raises:
        ValueError: if a mode has no vector in a branch at all.
    """
    k = len(target)
    grid = timesteps.unique()
    membership = F.one_hot(labels, k).float()
    for b, name in enumerate(branches):
        empty = [m for m in range(k) if not ((labels == m) & (branch_index == b)).any()]
        if empty:
            raise ValueError(
                f"`labels` must give every mode an activation, got none in the {name} branch for modes {empty}."
            )
    sums = torch.zeros(len(branches), len(grid), k, z.shape[1])
    for b in range(len(branches)):
        for i, t in enumerate(grid):
            rows = (branch_index == b) & (timesteps == t)
            sums[b, i] = membership[rows].T @ z[rows]
    missing = sums.norm(dim=-1, keepdim=True) == 0
    filled = torch.where(missing, sums.sum(dim=1, keepdim=True), sums)
    return ModeBank(branches, grid, F.normalize(filled, dim=-1), membership.sum(dim=0), target.float())


def fit_axis_bank(
    z: Tensor, labels: Tensor, timesteps: Tensor, branch_index: Tensor, branches: tuple[str, ...], target: Tensor,
    centers: Tensor,
) -> ModeBank:  # fmt: skip
    """Place two modes on their axis: midpoint and half-distance of the sides' mean scores, at each timestep and branch.

    The score of an image is ``x = (z . a - m_t) / d_t``, times a factor that no timestep changes: the mean half-distance in the
    units of `fit_bank`'s cosines, so that one temperature does for both banks.

    Args:
        z, labels, timesteps, branch_index, branches, target: as in `fit_bank`, of all images of all prompts; labels are 0 or 1.
        centers: (2, d) unit centres of the two modes in the encoder's space; ``a = unit(c_0 - c_1)``.

    Returns:
        The bank; its origin is ``m_t a`` for every prompt.

    Raises:
        ValueError: if a side has no activation in a branch, or the scores do not tell the sides apart.
    """
    apart = centers[0] - centers[1]
    axis = F.normalize(apart, dim=0)
    bank = fit_bank(z, labels, timesteps, branch_index, branches, target)
    first, second = _group_means(z @ axis, labels, 2, timesteps, branch_index, len(branches))
    middle, half = (first + second) / 2, (first - second) / 2
    mean = half.mean(dim=1, keepdim=True)
    if (mean <= 0).any():
        raise ValueError(
            "`z` must tell the two sides of the axis apart, got scores that do not: train the projector longer, or on more images."
        )
    half = torch.maximum(half, NARROW * mean)
    centroids = torch.stack([axis, -axis]).expand(len(branches), len(bank.timesteps), 2, -1).contiguous()
    origins = (middle[..., None] * axis)[None]
    return replace(bank, centroids=centroids, origins=origins, scales=2 * half / (mean * apart.norm()))


def fit_mean_bank(
    z: Tensor, labels: Tensor, timesteps: Tensor, branch_index: Tensor, branches: tuple[str, ...], target: Tensor,
    prompt_index: Tensor, prompts: tuple[str, ...],
) -> ModeBank:  # fmt: skip
    """Average projected vectors into centroids, each prompt's mean at the timestep and branch taken away before.

    Args:
        z, labels, timesteps, branch_index, branches, target: as in `fit_bank`.
        prompt_index: (M,) int64, index into `prompts`.
        prompts: P texts.

    Returns:
        The bank; its origins are the prompts' means.

    Raises:
        ValueError: as `fit_bank` does.
    """
    origins = _group_means(z, prompt_index, len(prompts), timesteps, branch_index, len(branches))
    apart = z - origins[prompt_index, branch_index, torch.searchsorted(timesteps.unique(), timesteps)]
    bank = fit_bank(apart, labels, timesteps, branch_index, branches, target)
    return replace(bank, origins=origins, prompts=prompts)


def _group_means(
    x: Tensor, group: Tensor, groups: int, timesteps: Tensor, branch_index: Tensor, branches: int
) -> Tensor:  # fmt: skip
    """Return the mean of x (M, ...) over each group, branch and timestep, (groups, branches, T, ...).

    Where a group was not recorded at a timestep, it is the mean over all timesteps.
    """
    grid = timesteps.unique()
    means = torch.zeros(groups, branches, len(grid), *x.shape[1:])
    for g in range(groups):
        for b in range(branches):
            own = (group == g) & (branch_index == b)
            for i, t in enumerate(grid):
                rows = own & (timesteps == t)
                means[g, b, i] = x[rows if rows.any() else own].mean(dim=0)
    return means


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
    duals = torch.linalg.pinv(weighed @ directions.T, hermitian=True) @ weighed  # also of axes whose sides are the same
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
