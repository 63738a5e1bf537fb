"""Edits in standardised coordinates: for the stream of a transformer, whose size is that of a few channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step
from selfdebias.modes.projection import SemanticProjector


def edit_standardised(projector: SemanticProjector, h: Tensor, step: Step, edit: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `h` with an edit that is found, and has its size, in standardised coordinates.

    ``x = (h - mu) / sigma`` by channel, with the moments of the timestep and branch that the projector was fitted on; then
    ``h + d - mean_c(d)`` with ``d = sigma (edit(x) - x)``. What is the same for all channels of a place is left out, as the layer
    norm by which each later layer reads the stream does not see it. Rows without an edit stay as they are, bit for bit.

    Args:
        projector: whose moments are taken.
        h: (branches x B, C, h, w), stacked as `step.branches` says.
        step: where in the sampling loop this is.
        edit: of standardised activations, float32; returns its argument where it changes nothing.

    Returns:
        A tensor of the same shape and dtype as `h`; `h` itself where nothing is changed.
    """
    rows = len(h) // len(step.branches)
    known = projector.branches  # without classifier-free guidance the conditional one alone, whose rows may stand twice
    own = [known.index(name if name in known else "cond") for name in step.branches]
    branch = torch.tensor(own).repeat_interleave(rows)
    center, scale = (it.to(h.device) for it in projector.moments(torch.full((len(h),), step.timestep), branch))
    x = (h.float() - center) / scale
    edited = edit(x)
    if edited is x:
        return h
    change = scale * (edited.float() - x)
    return (h.float() + change - change.mean(dim=1, keepdim=True)).to(h.dtype)
