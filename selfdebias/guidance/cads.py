"""Condition-annealed sampling: noise on the text embedding that fades out as the image takes shape."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.config.rules import refuse
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.baselines import seeded_noise
from selfdebias.guidance.state import GuidanceState
from selfdebias.guidance.step_rule import AT_LEAST_0, SHARE, require, row_norms


class CadsGuidance(Guidance):
    """Anneals Gaussian noise on the text embedding y of the conditional rows, so that images are more diverse. Label-free.

    ``y^ = sqrt(gamma(t)) y + s sqrt(1 - gamma(t)) n`` with n standard Gaussian, anew at each step; then
    ``psi rescaled(y^) + (1 - psi) y^``, where `rescaled` has the mean and standard deviation of y. Here t is 1 at the first step
    and falls to 0 at the end, the two moments are those of each image's own embedding, and n is drawn from the image's seed, so
    that an image depends neither on its batch nor on anything but itself, and its pipeline's generator is left as it is. The
    pooled embedding, of which Stable Diffusion XL, 3 and Flux are told as well, is left as it is.

    Args:
        strength: `s`, at least 0, in standard deviations of the embedding of about 1; 0 changes nothing. The schedule's weight
            scales it.
        tau1: t up to which the embedding is as it is, in [0, 1].
        tau2: t from which on it is noise alone, in [0, 1], above `tau1`; in between, `gamma` is linear.
        psi: share of the rescaled embedding, in [0, 1].

    Raises:
        ValueError: if a value is out of range.

    References:
        Sadat et al., CADS, arXiv 2310.17347: the noised condition, its linear schedule and its rescaling. There the moments are
        those of the whole tensor, here of each image's own.
    """

    needs_semantics = balances = False
    site = "text"
    dependence = "image"

    def __init__(self, strength: float = 0.25, tau1: float = 0.6, tau2: float = 0.9, psi: float = 1.0):
        require(AT_LEAST_0, strength=strength)
        require(SHARE, tau1=tau1, tau2=tau2, psi=psi)
        if tau1 >= tau2:
            raise refuse("guidance.tau2", f"larger than `guidance.tau1`, {tau1}", tau2)
        self.strength, self.tau1, self.tau2, self.psi = strength, tau1, tau2, psi

    def gamma(self, t: float) -> float:
        """Return how much of the embedding is left, in [0, 1].

        Args:
            t: the share of the sampling loop that is still to come, in [0, 1].

        Example:
            >>> [round(CadsGuidance(tau1=0.5, tau2=0.9).gamma(t), 2) for t in (1.0, 0.9, 0.8, 0.6, 0.5, 0.1)]
            [0.0, 0.0, 0.25, 0.75, 1.0, 1.0]
        """
        return min(max((self.tau2 - t) / (self.tau2 - self.tau1), 0.0), 1.0)

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; `h` is the text embedding, and images must have seeds of their own.

        Raises:
            ValueError: if the pipeline's call has no generator for each image.
        """
        gamma = self.gamma(1 - step.index / step.count)
        if self.strength == 0 or gamma == 1:
            return h
        halves = split_branches(h, step.branches)
        y = halves["cond"].float()
        noise = seeded_noise(state.seeds, step.index, y.shape).to(y)
        noised = math.sqrt(gamma) * y + self.strength * step.weight * math.sqrt(1 - gamma) * noise
        mean, spread = _moments(y)
        own_mean, own_spread = _moments(noised)
        edited = self.psi * ((noised - own_mean) / own_spread * spread + mean) + (1 - self.psi) * noised
        state.trace.add(step, torch.zeros(0), row_norms(edited - y) / row_norms(y), 0.0)  # it reads no modes
        return torch.cat([*(half for name, half in halves.items() if name != "cond"), edited.to(h.dtype)])


def _moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each row, (B, 1, ...)."""
    within = tuple(range(1, y.ndim))
    return y.mean(dim=within, keepdim=True), y.std(dim=within, keepdim=True)
