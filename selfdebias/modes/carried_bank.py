"""Mode banks that hold for several prompts: one axis with its midpoints, or centroids around each prompt's mean."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.modes.bank import ModeBank, fit_bank

NARROW = 0.1  # of the mean half-distance: a timestep that tells the sides apart less than this counts as this


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
    means = _side_means(z @ axis, labels, timesteps, branch_index, bank)  # (branches, T, 2)
    middle, half = means.mean(dim=-1), (means[..., 0] - means[..., 1]) / 2
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
    grid = timesteps.unique()
    origins = torch.zeros(len(prompts), len(branches), len(grid), z.shape[1])
    apart = z.clone()
    for p in range(len(prompts)):
        for b in range(len(branches)):
            own = (prompt_index == p) & (branch_index == b)
            for i, t in enumerate(grid):
                rows = own & (timesteps == t)
                origins[p, b, i] = z[rows if rows.any() else own].mean(dim=0)
                apart[rows] -= origins[p, b, i]
    bank = fit_bank(apart, labels, timesteps, branch_index, branches, target)
    return replace(bank, origins=origins, prompts=prompts)


def _side_means(x: Tensor, labels: Tensor, timesteps: Tensor, branch_index: Tensor, bank: ModeBank) -> Tensor:
    """Return the mean score of each side, (branches, T, 2); over all timesteps where a side was not recorded at one."""
    means = torch.zeros(len(bank.branches), len(bank.timesteps), 2)
    for b in range(len(bank.branches)):
        for side in range(2):
            own = (branch_index == b) & (labels == side)
            for i, t in enumerate(bank.timesteps):
                rows = own & (timesteps == t)
                means[b, i, side] = x[rows if rows.any() else own].mean()
    return means
