"""The baseline without a gradient: a push along the difference of the modes' mean activations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.backbones.hspace import Step
from selfdebias.guidance.relative_step import Move, RelativeStepGuidance, along
from selfdebias.guidance.self_debias import COUNTED_AT, pushed
from selfdebias.guidance.soft_assignment import check_above_0, kl_divergence
from selfdebias.guidance.state import GuidanceState, Semantics


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
        check_above_0("kappa", kappa)
        check_above_0("slack", slack)
        check_above_0("counted_at", counted_at)
        self.kappa, self.slack, self.counted_at = kappa, slack, counted_at

    def check(self, semantics: Semantics) -> None:
        """See `Guidance.check`."""
        super().check(semantics)
        if semantics.means is None:
            raise ValueError(
                "`guidance` must not be mean_difference for modes without mean activations, got none: run the project stage anew."
            )

    def move(self, h: Tensor, step: Step, state: GuidanceState) -> Move:
        """See `RelativeStepGuidance.move`."""
        p = self.sharper(self.assign(h, step, state), h, step, state, self.counted_at)
        everyone, own = state.collective.gather(p.float())
        p_hat, pi = everyone.mean(dim=0), self.pi(state).to(everyone)
        kl = kl_divergence(p_hat, pi)
        chosen = pushed(everyone, self.slack * len(everyone) * (p_hat - pi))[own]
        direction = torch.einsum("k,k...->...", pi - p_hat, self._means(state, step).to(h.device))
        size = chosen * min(1.0, kl / self.kappa) * self.effect(step)
        return Move(along(direction.expand(h.shape), size.clamp(max=self.limit), h), p_hat, kl)

    @staticmethod
    def _means(state: GuidanceState, step: Step) -> Tensor:
        means = state.require_semantics().means
        if means is None:
            raise ValueError("`state.semantics.means` must hold the modes' mean activations, got None.")
        return means.at(step.timestep)
