"""Attenuation of the spatial mean of `h_t`, its DC component."""

from __future__ import annotations

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.state import GuidanceState
from selfdebias.guidance.step_rule import BRANCH_OR_EACH, EACH, SHARE, add_edit, require, row_norms


class DcGuidance(Guidance):
    """Takes a share of the spatial mean away from each activation: ``h <- h - s w mean(h)``, w the schedule's weight. Label-free.

    The mean over the places of a channel says much of what all images of a prompt have in common, early most of all: so it goes
    with a schedule that ends early, such as ``schedule.stop=0.3``.

    Args:
        strength: `s`, the share of the mean that is taken away, in [0, 1]; 0 changes nothing, 1 leaves no mean.
        branch: ``each``: the rows of each branch of classifier-free guidance lose their own mean. ``cond``, ``both`` or
            ``contrast``: the mean of the conditional rows is taken away from these, from both, or given to the others.

    Raises:
        ValueError: if a value is out of range.
    """

    needs_semantics = balances = False
    standardised = False  # these coordinates have lost the mean that images have in common
    dependence = "image"

    def __init__(self, strength: float = 1.0, branch: str = EACH):
        require(SHARE, strength=strength)
        require(BRANCH_OR_EACH, branch=branch)
        self.strength, self.branch = strength, branch

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`."""
        if self.strength == 0:
            return h
        edit = (-self.strength * step.weight * h.float().mean(dim=(2, 3), keepdim=True)).to(h.dtype).expand(h.shape)
        h_cond, own = (split_branches(x, step.branches)["cond"] for x in (h, edit))
        state.trace.add(step, torch.zeros(0), row_norms(own) / row_norms(h_cond), 0.0)  # it reads no modes
        return h + edit if self.branch == EACH else add_edit(h, own, self.branch, step.branches)
