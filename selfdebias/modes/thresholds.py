"""Gives each prompt thresholds of its own between two modes, by the shares that the encoder finds among its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.optimize import brentq
from torch import Tensor

from selfdebias.modes.bank import ANY, AxesBank, ModeBank

TEMPERATURE = 0.1  # of the soft shares that are made to fit: that of the guidances in conf/


def with_thresholds(
    bank: ModeBank, z: Tensor, labels: Tensor, timesteps: Tensor, branch_index: Tensor, prompt_index: Tensor,
    prompts: Sequence[str],
) -> ModeBank:  # fmt: skip
    """Move the origin of two modes along their axis, for each prompt, timestep and branch, until the projector's shares are right.

    ``o' = o + x scale c_0`` with ``mean_i softmax_0((score_i - (x, -x)) / tau) = (n_0 + 1) / (n + 2)``, where the prompt has n
    activations in the branch, n_0 of them of images in mode 0. Each timestep is fitted with its two neighbours, since few images
    were recorded at each.

    Args:
        bank: of two modes whose centroids are opposite, with one origin for all prompts, which goes on to hold for other ones.
        z: (M, d) float32, projected unit vectors of the images that it was fitted on.
        labels: (M,) int64, 0 or 1, the mode of the image that each belongs to.
        timesteps: (M,) float32, training timesteps.
        branch_index: (M,) int64, index into the bank's branches.
        prompt_index: (M,) int64, index into `prompts`.
        prompts: P texts.

    Returns:
        The bank with P + 1 origins.

    Raises:
        ValueError: if a prompt has no activation in a branch.
    """
    assert bank.origins is not None and bank.scales is not None
    scores = bank.scores_of(z, timesteps, branch_index)[:, 0]
    place = torch.searchsorted(bank.timesteps, timesteps)
    moved = bank.origins.repeat(len(prompts) + 1, 1, 1, 1)
    for p, prompt in enumerate(prompts):
        for b, branch in enumerate(bank.branches):
            own = (prompt_index == p) & (branch_index == b)
            if not own.any():
                raise ValueError(f"`z` must hold activations of {prompt!r} in the {branch} branch, got none.")
            share = (int((labels[own] == 0).sum()) + 1) / (int(own.sum()) + 2)
            for t in range(len(bank.timesteps)):
                near = own & ((place - t).abs() <= 1)
                shift = _shift(scores[near if near.any() else own], share)
                moved[p, b, t] += shift * bank.scales[b, t] * bank.centroids[b, t, 0]
    return replace(bank, origins=moved, prompts=(*prompts, ANY))


def axes_with_thresholds(
    bank: AxesBank, z: Tensor, sides: Tensor, timesteps: Tensor, branch_index: Tensor, prompt_index: Tensor,
    prompts: Sequence[str],
) -> AxesBank:  # fmt: skip
    """Do so with each axis; `sides` (M, A) int64, 0 or 1, are those of the image that each vector belongs to, the rest as there."""
    where = timesteps, branch_index, prompt_index, prompts
    return AxesBank(tuple(with_thresholds(axis, z, sides[:, a], *where) for a, axis in enumerate(bank.axes)))


def _shift(scores: Tensor, share: float) -> float:
    """What is taken from mode 0's scores, and added to mode 1's, so that the soft share of mode 0 is `share`, in (0, 1)."""

    def excess(shift: float) -> float:
        return float(torch.sigmoid(2 * (scores.double() - shift) / TEMPERATURE).mean()) - share

    reach = float(scores.abs().max()) + 100 * TEMPERATURE  # beyond which all images are in one mode
    return float(brentq(excess, -reach, reach, xtol=1e-6))
