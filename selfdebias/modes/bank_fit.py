"""Fits a mode bank to projected vectors (the centroids of one prompt or of several, one axis, the temperatures), and mode means."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.modes.bank import ModeBank, ModeMeans
from selfdebias.storage.tensor_rows import TensorRows, rows_at_once

NARROW = 0.1  # of the mean half-distance: a smaller half-distance at a timestep counts as this
GRID = torch.logspace(-2, 0.3, 47)  # temperatures that are tried, on cosines
CLOSE = 0.01  # a difference of shares, in the 2-norm, that so few images cannot tell from the smallest one
LIKELY = 0.02  # nats an image, likewise of the likelihood


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


def fit_temperatures(
    z: Tensor, labels: Tensor, timesteps: Tensor, branch_index: Tensor, bank: ModeBank, prompt_index: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Fit `tau` by timestep and branch: the mean soft assignment of held-out activations is to be the share of their images.

    Each timestep is fitted with its two neighbours, since few images were recorded at each.

    Args:
        z: (M, d) projected unit vectors of images that neither projector nor bank was fitted on.
        labels: (M,) int64, the mode of each one's final image.
        timesteps: (M,) training timesteps.
        branch_index: (M,) int64, index into the bank's branches.
        bank: the modes.
        prompt_index: (M,) int64, index into the bank's prompts; None where it is the same for all.

    Returns:
        (branches, T) float32, within `GRID`. A timestep without held-out images takes all of the branch.

    Raises:
        ValueError: if a branch has no held-out image at all.
    """
    fitted = torch.zeros(len(bank.branches), len(bank.timesteps))
    for b, branch in enumerate(bank.branches):
        mine = branch_index == b
        if not mine.any():
            raise ValueError(f"`z` must hold activations of the {branch} branch, got none.")
        prompt = None if prompt_index is None else prompt_index[mine]
        scores = bank.scores_of(z[mine], timesteps[mine], branch_index[mine], prompt)
        for i in range(len(bank.timesteps)):
            near = torch.isin(timesteps[mine], bank.timesteps[max(0, i - 1) : i + 2])
            rows = near if near.any() else torch.ones_like(near)
            fitted[b, i] = fit_temperature(scores[rows], labels[mine][rows])
    return fitted


def fit_temperature(cosines: Tensor, labels: Tensor) -> float:
    """Return the temperature of `GRID` at which ``mean softmax(cosines / tau)`` comes nearest to the shares of the labels.

    Of those that come equally close, and give the images' own modes about the highest likelihood, the largest is taken: where
    the modes lie wide apart every low one would do, and its gradient would vanish.

    Args:
        cosines: (M, K) of projected vectors to the centroids.
        labels: (M,) int64, modes.

    Example:
        >>> scores = torch.tensor([[0.8, 0.0], [0.2, 0.0], [-0.8, 0.0], [0.4, 0.0]])
        >>> low, high = fit_temperature(scores, torch.tensor([0, 0, 1, 0])), fit_temperature(scores, torch.tensor([0, 1, 1, 0]))
        >>> low < 0.1 < high
        True
    """
    log_p = F.log_softmax(cosines[None] / GRID[:, None, None], dim=2)
    shares = F.one_hot(labels, cosines.shape[1]).float().mean(dim=0)
    distance = (log_p.exp().mean(dim=1) - shares).norm(dim=1)
    likelihood = log_p[:, torch.arange(len(labels)), labels].mean(dim=1)
    close = distance <= distance.min() + CLOSE
    fits = close & (likelihood >= likelihood[close].max() - LIKELY)
    return float(GRID[fits].max())


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
