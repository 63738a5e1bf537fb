"""Particle guidance: the images of a batch repel each other in the projector's space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.guidance.shares import EPSILON
from selfdebias.guidance.state import GuidanceState
from selfdebias.guidance.step_rule import RelativeStep, along, row_norms


class ParticleGuidance(RelativeStep):
    """Descends the similarity of the batch's projected vectors ``z_i = phi(h_i, t)``. Label-free, and without modes.

    ``h_i <- h_i + s w ||h_i|| g_i / rms(||g||) / gain`` with ``g_i = - d/dh_i sum_j k(z_i, z_j)``, the others held fixed, and the
    Gaussian kernel ``k(z, z') = exp(-||z - z'||^2 / b)``, ``b = median(||z - z'||)^2 / log n`` over the pairs of the batch of n.
    The rms is over the batch. An image alone is left as it is.

    Args:
        strength, branch, limit, extrapolation_scale: as in `RelativeStep`.

    Raises:
        ValueError: if a value is out of range.

    References:
        Corso et al., Particle Guidance, arXiv 2310.13102: the fixed potential of a Gaussian kernel, of median bandwidth. There the
        features are those of the predicted image or latent; here the projector's, whose gradient leaves the denoiser out.
    """

    balances = False

    def __init__(self, strength: float, branch: str = "contrast", limit: float = 2.0, extrapolation_scale: float = 1.0):
        super().__init__(strength, branch, limit, extrapolation_scale)

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; where some gradient is not finite nothing is edited, and that is counted."""
        if self.strength == 0:
            return h
        semantics = (state.axes[0] if state.axes else state).require_semantics()  # axes share their projector
        h_cond = split_branches(h, step.branches)["cond"]
        with torch.enable_grad():
            leaf = h_cond.detach().float().requires_grad_(True)
            z = semantics.project(leaf, step.timestep, "cond")
            everyone, _ = state.collective.gather(z)
            if len(everyone) < 2:
                return h
            distances = (z[:, None] - everyone).square().sum(dim=2)
            (g,) = torch.autograd.grad(torch.exp(-distances / bandwidth(everyone)).sum(), leaf)
        norm = row_norms(g)
        squares, images = state.collective.sum(torch.stack([norm.square().sum(), norm.new_tensor(len(norm))]))
        size = self.effect(step) * norm / ((squares / images).sqrt() + EPSILON)
        edit = along(-g, size.clamp(max=self.limit), h_cond)
        return h if state.skips(edit) else self.apply(h, edit, torch.zeros(0), 0.0, step, state)


def bandwidth(z: Tensor) -> Tensor:
    """Return ``median^2 / log n`` of the distances between n vectors (n, d), at least `EPSILON`; as the paper has it.

    Example:
        >>> round(float(bandwidth(torch.tensor([[0.0], [1.0], [2.0]]))), 4)
        0.9102
    """
    return torch.pdist(z).median().square().clamp(min=EPSILON) / math.log(len(z))
