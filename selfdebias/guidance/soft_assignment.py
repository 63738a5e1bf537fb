"""What guidance by soft assignments has in common: an image's shares in the modes, and the shares that are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.backbones.hspace import Step
from selfdebias.config.rules import LARGEST
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.shares import check_target, wanted_shares
from selfdebias.guidance.state import GuidanceState, Semantics

EPSILON = 1e-12
CALIBRATED = "calibrated"


class SoftAssignmentGuidance(Guidance):
    """Reads ``p_ik = softmax_k(cos(phi(h_i, t), c_k) / tau)`` off the activations, and holds their mean against `pi`.

    Args:
        temperature: `tau` of the soft assignment, on cosines, > 0; ``calibrated`` takes those of the bank, by timestep.
        target: `pi`, shares by mode, the largest mode first, that sum to 1; ``uniform``; ``depth``, by the modes' depths in
            their tree; None takes the bank's.
        extrapolation_scale: w, at least 1: where the pipeline has no classifier-free guidance, the UNet draws each image with
            and without the edit, and the prediction is ``(1 - w) eps_u + w eps_c``. There w is what a guidance scale is
            elsewhere: the edit counts by the same gains, at the price of a UNet batch twice as large. 1 turns it off.
        axes: which axes are balanced, numbers from 0; the others are left alone. None balances all, and is the only choice where
            modes are one partition.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(
        self, temperature: float | str, target: Sequence[float] | str | None, extrapolation_scale: float,
        axes: Sequence[int] | None = None,
    ):  # fmt: skip
        check_at_least("extrapolation_scale", extrapolation_scale, 1)
        if temperature != CALIBRATED:
            check_above_0("temperature", temperature)
        self.temperature, self.target = temperature, check_target(target)
        self.extrapolation_scale, self.axes = extrapolation_scale, _check_axes(axes)

    def check(self, semantics: Semantics) -> None:
        """See `Guidance.check`."""
        wanted_shares(self.target, semantics.bank)
        if self.temperature == CALIBRATED and semantics.bank.temperatures is None:
            raise ValueError(
                "`guidance.temperature` must be a number for a bank without calibrated temperatures, got 'calibrated': fit it anew."
            )

    def assign(
        self, h: Tensor, step: Step, state: GuidanceState, branch: str = "cond", own: Tensor | None = None
    ) -> Tensor:
        """Return the soft assignments (B, K), differentiable in `h`; `branch` and `own` as in `Semantics.assign`."""
        semantics = state.require_semantics()
        calibrated = self.temperature == CALIBRATED
        tau = semantics.bank.temperature(step.timestep, branch) if calibrated else float(self.temperature)
        return semantics.assign(h, step.timestep, branch, tau, own)

    def sharper(self, p: Tensor, h: Tensor, step: Step, state: GuidanceState, temperature: float) -> Tensor:
        """Return soft assignments (B, K) at a temperature, without gradient; `p`, the guidance's own, where that is no softer."""
        if self.temperature == CALIBRATED or float(self.temperature) <= temperature:
            return p.detach()
        with torch.no_grad():
            return state.require_semantics().assign(h, step.timestep, "cond", temperature)

    def pi(self, state: GuidanceState) -> Tensor:
        """Return the wanted shares (K,), each larger than 0 so that its logarithm is finite."""
        return wanted_shares(self.target, state.require_semantics().bank).clamp(min=EPSILON)


def _check_axes(axes: Sequence[int] | None) -> list[int] | None:
    """Return the axes as a list; raise a ValueError unless they are different whole numbers of at least 0."""
    if axes is None:
        return None
    numbers = [] if isinstance(axes, str | int | float) else list(axes)
    if (
        not numbers
        or any(isinstance(a, bool) or not isinstance(a, int) or a < 0 for a in numbers)
        or len(set(numbers)) < len(numbers)
    ):
        raise ValueError(f"`guidance.axes` must be null or different axes, whole numbers from 0, got {axes}.")
    return numbers


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
