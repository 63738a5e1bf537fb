"""Edits in standardised coordinates: for the stream of a transformer, whose size is that of a few channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.backbones.calling import Step
from selfdebias.modes.projection import SemanticProjector


def edit_standardised(projector: SemanticProjector, h: Tensor, step: Step, edit: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `h` with an edit that is found, and has its size, in the coordinates that the projector reads.

    ``x = (h - mu) / sigma`` by channel, averaged to the places that were fitted, with the moments of the timestep and branch; then
    ``h + d - mean_c(d)`` with ``d = sigma (edit(x) - x)``, the same for all tokens of a place. What is the same for all channels is
    left out, as the layer norm by which each later layer reads the stream does not see it.
    Rows without an edit stay as they are, bit for bit.

    Args:
        projector: whose moments and places are taken.
        h: (branches x B, C, H, W), stacked as `step.branches` says.
        step: where in the sampling loop this is.
        edit: of standardised activations (branches x B, C, h, w), float32; returns its argument where it changes nothing.

    Returns:
        A tensor of the same shape and dtype as `h`, within the range of that dtype; `h` itself where nothing is changed.
    """
    rows, known = len(h) // len(step.branches), projector.branches
    own = [known.index(step.fitted_as(name, known)) for name in step.branches]
    timesteps, branch = torch.full((len(h),), step.timestep), torch.tensor(own).repeat_interleave(rows)
    x = projector.standardise(h, timesteps, branch)
    edited = edit(x)
    if edited is x:
        return h
    change = projector.moments(timesteps, branch)[1].to(h.device) * (edited.float() - x)
    change = change - change.mean(dim=1, keepdim=True)
    if change.shape != h.shape:
        change = F.interpolate(change, h.shape[2:])
    largest = torch.finfo(h.dtype).max
    return torch.where(change == 0, h, (h.float() + change).clamp(-largest, largest).to(h.dtype))
