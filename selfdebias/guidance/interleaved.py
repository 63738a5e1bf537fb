"""The official code's split of the branches: the reproduction of a fault, to measure what it costs. For nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from selfdebias.guidance.self_debias import SelfDebiasGuidance
from selfdebias.guidance.state import GuidanceState
from selfdebias.hspace import Step


class InterleavedGuidance(SelfDebiasGuidance):
    """`SelfDebiasGuidance` that takes even rows for the unconditional branch and odd ones for the conditional one.

    Diffusers stacks ``[uncond; cond]`` in two halves, so with more than one image each half of what is read as conditional is of
    the other branch. Without classifier-free guidance there is nothing to split. Arguments as in `SelfDebiasGuidance`.

    References:
        The official code of arXiv 2512.03749, ``0::2`` and ``1::2``.
    """

    splits = False  # its rows belong to other images in a part of the batch than in the whole

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; edit sizes in the trace are those of pairs of neighbouring rows, not of images."""
        if step.branches == ("cond",):
            return super().edit(h, step, state)
        order = torch.cat([torch.arange(0, len(h), 2), torch.arange(1, len(h), 2)]).to(h.device)
        mixed = h[order]
        edited = super().edit(mixed, step, state)
        if edited is mixed:
            return h
        back = torch.empty_like(h)
        back[order] = edited
        return back
