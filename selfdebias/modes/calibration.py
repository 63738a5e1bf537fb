"""The temperature at which projected shares say how the final images will be shared out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.modes.bank import ModeBank

GRID = torch.logspace(-2, 0.3, 47)  # temperatures that are tried, on cosines
CLOSE = 0.01  # a difference of shares, in the 2-norm, that so few images cannot tell from the smallest one
LIKELY = 0.02  # nats an image, likewise of the likelihood


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
