"""Guidance of several axes at once: each meets its own target, and the edits are added."""

from __future__ import annotations

import torch
from torch import Tensor

from selfdebias.backbones.hspace import Step, split_branches
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.shares import wanted_shares
from selfdebias.guidance.state import AxesSemantics, GuidanceState, Semantics


def edit_all(guidance: Guidance, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
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
    if not state.axes:
        return guidance.edit(h, step, state)
    total, untouched = torch.zeros_like(h, dtype=torch.float32), True
    shares = [torch.full((2,), torch.nan) for _ in state.axes]
    divergence, skipped = 0.0, 0
    for a in chosen_axes(guidance, len(state.axes)):
        own = state.axes[a]
        before, left_out = len(own.trace.index), own.trace.skipped
        edited = guidance.edit(h, step, own)
        if edited is not h:
            total, untouched = total + (edited.float() - h.float()), False
        skipped += own.trace.skipped - left_out
        if len(own.trace.index) > before:
            shares[a], divergence = own.trace.p_hat[-1], divergence + own.trace.kl[-1]
    state.trace.skipped += skipped
    size = h.float().flatten(1).norm(dim=1)
    rows = split_branches(total.flatten(1).norm(dim=1) / size, step.branches)
    state.trace.add(step.index, torch.cat(shares), torch.stack([*rows.values()]).amax(dim=0), divergence)
    return h if untouched else (h.float() + total).to(h.dtype)


def chosen_axes(guidance: Guidance, count: int) -> list[int]:
    """Return which of `count` axes a guidance balances: those of its option `axes`, else all."""
    asked = getattr(guidance, "axes", None)
    return list(range(count)) if asked is None else list(asked)


def check_all(guidance: Guidance, semantics: Semantics | AxesSemantics) -> None:
    """Refuse semantics that a guidance cannot work with, as `Guidance.check` does; of axes each one that is balanced.

    Raises:
        ValueError: if there are such, or `guidance.axes` names one that is not there.
    """
    if not isinstance(semantics, AxesSemantics):
        asked = getattr(guidance, "axes", None)
        if asked is not None:
            raise ValueError(
                f"`guidance.axes` must be null where modes are one partition, got {asked}: choose clustering=axes."
            )
        guidance.check(semantics)
        return
    count = len(semantics.axes)
    if guidance.passes > 1:
        raise ValueError(
            f"`guidance` must draw once for axes, got {type(guidance).__name__}, which draws twice: choose guidance=transport."
        )
    wrong = [a for a in chosen_axes(guidance, count) if a >= count]
    if wrong:
        raise ValueError(
            f"`guidance.axes` must be among the {count} that were found, 0 to {count - 1}, got {wrong[0]}: the report shows them."
        )
    for a in chosen_axes(guidance, count):
        guidance.check(semantics.axes[a])


def wanted_of_all(guidance: Guidance, semantics: Semantics | AxesSemantics) -> list[float]:
    """Return the wanted shares (K,); of axes those of their sides, one after the other, equal where an axis is not balanced."""
    target = getattr(guidance, "target", None)
    if not isinstance(semantics, AxesSemantics):
        return [float(x) for x in wanted_shares(target, semantics.bank)]
    chosen = chosen_axes(guidance, len(semantics.axes))
    own = [wanted_shares(target if a in chosen else None, it.bank) for a, it in enumerate(semantics.axes)]
    return [float(x) for x in torch.cat(own)]
