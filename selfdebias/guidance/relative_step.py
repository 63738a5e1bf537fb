"""What guidance by relative steps has in common: the size of an edit, the branches that it acts on, and the record of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from selfdebias.guidance.base import Guidance
from selfdebias.guidance.branch_rule import add_edit, branch_gain, check_rule
from selfdebias.guidance.shares import check_target, wanted_shares
from selfdebias.guidance.state import GuidanceState, Semantics
from selfdebias.hspace import Step, split_branches
from selfdebias.rules import LARGEST

EPSILON = 1e-12
CALIBRATED = "calibrated"


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


class RelativeStepGuidance(Guidance):
    """Edits whose size is a fraction of ``||h||``: ``strength x weight / gain``, shaped by `move`.

    Args:
        strength: `s`, the size of the edit's effect as a fraction of ``||h||``; at least 0, and 0 changes nothing.
        temperature: `tau` of the soft assignment, on cosines, > 0; ``calibrated`` takes those of the bank, by timestep.
        branch: ``cond``, ``both`` or ``contrast``: the branch of classifier-free guidance that is edited.
        limit: largest size of one image's edit, as a fraction of its ``||h||``, > 0.
        target: `pi`, shares by mode, the largest mode first, that sum to 1; ``uniform``; ``depth``, by the modes' depths in
            their tree; None takes the bank's.
        extrapolation_scale: w, at least 1: where the pipeline has no classifier-free guidance, the UNet draws each image with
            and without the edit, and the prediction is ``(1 - w) eps_u + w eps_c``. There w is what a guidance scale is
            elsewhere: the edit counts by the same gains, at the price of a UNet batch twice as large. 1 turns it off.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(
        self, strength: float, temperature: float | str, branch: str, limit: float, target: Sequence[float] | str | None,
        extrapolation_scale: float,
    ):  # fmt: skip
        check_rule(branch)
        check_at_least("strength", strength, 0)
        check_above_0("limit", limit)
        check_at_least("extrapolation_scale", extrapolation_scale, 1)
        if temperature != CALIBRATED:
            check_above_0("temperature", temperature)
        self.strength, self.temperature, self.branch, self.limit = strength, temperature, branch, limit
        self.target = check_target(target)
        self.extrapolation_scale = extrapolation_scale

    def check(self, semantics: Semantics) -> None:
        """See `Guidance.check`."""
        wanted_shares(self.target, semantics.bank)
        if self.temperature == CALIBRATED and semantics.bank.temperatures is None:
            raise ValueError(
                "`guidance.temperature` must be a number for a bank without calibrated temperatures, got 'calibrated': fit it anew."
            )

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

    def assign(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """Return the soft assignments (B, K), differentiable in `h`."""
        semantics = state.require_semantics()
        calibrated = self.temperature == CALIBRATED
        tau = semantics.bank.temperature(step.timestep, "cond") if calibrated else float(self.temperature)
        return semantics.assign(h, step.timestep, "cond", tau)

    def pi(self, state: GuidanceState) -> Tensor:
        """Return the wanted shares (K,), each larger than 0 so that its logarithm is finite."""
        return wanted_shares(self.target, state.require_semantics().bank).clamp(min=EPSILON)


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


def kl_divergence(p_hat: Tensor, pi: Tensor) -> float:
    """Return ``KL(p_hat || pi)`` in nats, at least 0: in float32 it can come out slightly negative.

    Example:
        >>> round(kl_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])), 4)
        0.6931
    """
    p_hat = p_hat.clamp(min=EPSILON)
    return max(float((p_hat * torch.log(p_hat / pi)).sum()), 0.0)


def check_above_0(name: str, value: float | str) -> None:
    """Raise a ValueError unless the value is a number larger than 0, and no larger than anything that makes sense."""
    if isinstance(value, str | bool) or not 0 < value <= LARGEST:
        raise ValueError(f"`guidance.{name}` must be larger than 0 and at most {LARGEST}, got {value}.")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise a ValueError unless the value is a number of at least `least`, and no larger than anything that makes sense."""
    if isinstance(value, bool) or not least <= value <= LARGEST:
        raise ValueError(f"`guidance.{name}` must be in [{least}, {LARGEST}], got {value}.")


def check_share(name: str, value: float) -> None:
    """Raise a ValueError unless the value is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"`guidance.{name}` must be in [0, 1], got {value}.")
