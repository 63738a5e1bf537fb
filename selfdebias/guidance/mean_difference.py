"""The baseline without a gradient: a push along the difference of the modes' mean activations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.guidance.self_debias import COUNTED_AT, pushed
from selfdebias.guidance.state import GuidanceState
from selfdebias.guidance.step_rule import ABOVE_0, RelativeStepGuidance, along, kl_divergence, require
from selfdebias.modes.semantics import Semantics


class MeanDifferenceGuidance(RelativeStepGuidance):
    """Pushes images from the modes that have too many towards those that have too few, all in one direction.

    ``h_i <- h_i + s w ||h_i|| d / ||d|| gate / gain`` with ``d = sum_k (pi_k - p_hat_k) mean(h_t | mode k)`` and ``gate`` as in
    `SelfDebiasGuidance`. For two modes `d` is the difference of their means. The projector only counts.

    Args:
        strength, temperature, branch, limit, target, extrapolation_scale, axes: as in `RelativeStepGuidance`.
        kappa, slack, counted_at: as in `SelfDebiasGuidance`.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(
        self, strength: float, temperature: float | str, branch: str = "contrast", kappa: float = 0.01, limit: float = 2.0,
        slack: float = 3.0, target: Sequence[float] | str | None = None, extrapolation_scale: float = 1.0,
        counted_at: float = COUNTED_AT, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(strength, temperature, branch, limit, target, extrapolation_scale, axes)
        require(ABOVE_0, kappa=kappa, slack=slack, counted_at=counted_at)
        self.kappa, self.slack, self.counted_at = kappa, slack, counted_at

    def check(self, semantics: Semantics) -> None:
        """See `Guidance.check`."""
        super().check(semantics)
        if semantics.means is None:
            raise ValueError(
                "`guidance` must not be mean_difference for modes without mean activations, got none: run the project stage anew."
            )

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; where some direction is not finite nothing is edited, and that is counted."""
        if self.strength == 0:
            return h
        h_cond, means = split_branches(h, step.branches)["cond"], state.require_semantics().means
        assert means is not None  # `check` refuses the others
        p = self.sharper(self.assign(h_cond, step, state), h_cond, step, state, self.counted_at)
        everyone, own = state.collective.gather(p.float())
        p_hat, pi = everyone.mean(dim=0), self.pi(state).to(everyone)
        kl = kl_divergence(p_hat, pi)
        chosen = pushed(everyone, self.slack * len(everyone) * (p_hat - pi))[own]
        d = torch.einsum("k,k...->...", pi - p_hat, means.at(step.timestep).to(h.device))
        size = chosen * min(1.0, kl / self.kappa) * self.effect(step)
        edit = along(d.expand(h_cond.shape), size.clamp(max=self.limit), h_cond)
        return h if state.skips(edit) else self.apply(h, edit, p_hat, kl, step, state)
