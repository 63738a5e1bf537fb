"""An edit over several axes: the sum of what a guidance does for each."""

from __future__ import annotations

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.guidance.base import Guidance, chosen_axes
from selfdebias.guidance.standardised import edit_standardised
from selfdebias.guidance.state import GuidanceState


def edit_all(guidance: Guidance, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
    """Return the edited activation: found in standardised coordinates, where the projector says so; see `edit_axes`."""
    phi = state.projector if guidance.site == "bottleneck" and guidance.standardised else None
    if phi is not None and phi.relative_to == "standardised":
        return edit_standardised(phi, h, step, lambda x: edit_axes(guidance, x, step, state))
    return edit_axes(guidance, h, step, state)


def edit_axes(guidance: Guidance, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
    """Return what `Guidance.edit` does; where there are axes, the sum of what it does for each that is balanced.

    The coordinates of an axis do not answer to an edit along another one (`fit_axes_bank`), so axes that are not balanced are left
    alone, and those that are do not undo each other. The trace has the projected shares of the sides of all axes (those that are
    not balanced as nan), the size of the whole edit, and the divergences of all axes added up.

    Args:
        guidance: how `h_t` is edited.
        h: (branches x B, C, H, W), stacked as `step.branches` says.
        step: where in the sampling loop this is.
        state: with one state for each axis, or with none of them.
    """
    if not (state.axes and guidance.balances):
        return guidance.edit(h, step, state)
    total, untouched = torch.zeros_like(h, dtype=torch.float32), True
    shares, divergence = [torch.full((2,), torch.nan) for _ in state.axes], 0.0
    for a in chosen_axes(guidance, len(state.axes)):
        own = state.axes[a]
        before, skipped = len(own.trace.index), own.trace.skipped
        edited = guidance.edit(h, step, own)
        if edited is not h:
            total, untouched = total + (edited.float() - h.float()), False
        state.trace.skipped += own.trace.skipped - skipped
        if len(own.trace.index) > before:
            shares[a], divergence = own.trace.p_hat[-1], divergence + own.trace.kl[-1]
    size = h.float().flatten(1).norm(dim=1)
    rows = split_branches(total.flatten(1).norm(dim=1) / size, step.branches)
    state.trace.add(step, torch.cat(shares), torch.stack([*rows.values()]).amax(dim=0), divergence)
    return h if untouched else (h.float() + total).to(h.dtype)
