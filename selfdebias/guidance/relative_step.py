"""What guidance by relative steps has in common: the size of an edit, the branches that it acts on, and the record of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from selfdebias.backbones.hspace import Step, split_branches
from selfdebias.guidance.branch_rule import add_edit, branch_gain, check_rule
from selfdebias.guidance.soft_assignment import EPSILON, SoftAssignmentGuidance, check_above_0, check_at_least
from selfdebias.guidance.state import GuidanceState


@dataclass(frozen=True)
class Move:
    """What one step does to a batch.

    Attributes:
        edit: (B, C, H, W), to be added to the activation of the conditional branch.
        p_hat: (K,) projected shares of the whole batch before it.
        kl: ``KL(p_hat || pi)`` in nats, memory counted in.
    """

    edit: Tensor
    p_hat: Tensor
    kl: float


class RelativeStepGuidance(SoftAssignmentGuidance):
    """Edits whose size is a fraction of ``||h||``: ``strength x weight / gain``, shaped by `move`.

    Args:
        strength: `s`, the size of the edit's effect as a fraction of ``||h||``; at least 0, and 0 changes nothing.
        temperature, target, extrapolation_scale, axes: as in `SoftAssignmentGuidance`.
        branch: ``cond``, ``both`` or ``contrast``: the branch of classifier-free guidance that is edited.
        limit: largest size of one image's edit, as a fraction of its ``||h||``, > 0.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(
        self, strength: float, temperature: float | str, branch: str, limit: float, target: Sequence[float] | str | None,
        extrapolation_scale: float, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(temperature, target, extrapolation_scale, axes)
        check_rule(branch)
        check_at_least("strength", strength, 0)
        check_above_0("limit", limit)
        self.strength, self.branch, self.limit = strength, branch, limit

    def extrapolation(self, step: Step) -> float:
        """See `Guidance.extrapolation`."""
        return self.extrapolation_scale if self.strength else 1.0

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; where some gradient is not finite nothing is edited, and that is counted."""
        if self.strength == 0:
            return h
        h_cond = split_branches(h, step.branches)["cond"]
        move = self.move(h_cond, step, state)
        if state.collective.any(not torch.isfinite(move.edit).all()):
            state.trace.skipped += 1
            return h
        self.settle(h_cond + move.edit, step, state)
        norms = move.edit.flatten(1).norm(dim=1) / h_cond.flatten(1).norm(dim=1)
        state.trace.add(step.index, move.p_hat, norms, move.kl)
        return add_edit(h, move.edit, self.branch, step.branches) if move.edit.any() else h

    @abstractmethod
    def move(self, h: Tensor, step: Step, state: GuidanceState) -> Move:
        """Return what is to be added to the activation (B, C, H, W) of the conditional branch."""

    def settle(self, h: Tensor, step: Step, state: GuidanceState) -> None:
        """Take note of the edited activation (B, C, H, W), where a guidance has to."""

    def effect(self, step: Step) -> float:
        """Return the size of an edit as a fraction of ``||h||``: one strength means the same at every guidance scale and rule."""
        return self.strength * step.weight / branch_gain(self.branch, step.guidance_scale)


def along(direction: Tensor, size: Tensor, h: Tensor) -> Tensor:
    """Return vectors of a given relative size.

    Args:
        direction: (B, C, H, W); a zero vector stays one.
        size: (B,) wanted norms, as fractions of those of `h`.
        h: (B, C, H, W) activations.

    Returns:
        (B, C, H, W) in the type of `h`.
    """
    factor = size * h.float().flatten(1).norm(dim=1) / (direction.flatten(1).norm(dim=1) + EPSILON)
    return (factor[:, None, None, None] * direction).to(h.dtype)
