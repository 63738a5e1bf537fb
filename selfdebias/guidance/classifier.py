"""Classifier guidance of `h_t` towards a distribution over labelled classes: a rival that is told the attribute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step
from selfdebias.guidance.gradient_descent import GradientDescentGuidance
from selfdebias.guidance.state import GuidanceState
from selfdebias.guidance.step_rule import ABOVE_0, EACH, require
from selfdebias.modes.semantics import Semantics


class ClassifierGuidance(GradientDescentGuidance):
    """Gradient descent on ``KL(p_hat || pi)`` where `p_hat` is the batch's mean of a classifier's probabilities on `h_t`.

    ``h_i <- h_i - eta w N dL/dh_i`` as in `GradientDescentGuidance`, with ``p_ik = softmax_k(logits_k(h_i, t) / tau)`` of
    a linear classifier that was fitted on a judge's labels of the collected images, in place of projector and centroids.

    Args:
        eta, branch, limit, inner_steps, target, extrapolation_scale: as in `GradientDescentGuidance`; the target is shares of the
            classes, the largest one among the collected images first.
        temperature: `tau`, > 0; 1 takes the classifier's own probabilities.

    Raises:
        ValueError: if a value is out of range.

    References:
        Parihar et al., Balancing Act, arXiv 2402.18206, distribution guidance in h-space; here of linear heads, and by the KL.
    """

    told = "the attribute, by the judge's labels of the collected images"

    def __init__(
        self, eta: float, temperature: float = 1.0, branch: str = EACH, limit: float | None = None, inner_steps: int = 1,
        target: Sequence[float] | str | None = None, extrapolation_scale: float = 1.0, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(eta, temperature, branch, limit, inner_steps, target, extrapolation_scale, axes)
        require(ABOVE_0, temperature=temperature)

    def check(self, semantics: Semantics) -> None:
        """See `Guidance.check`."""
        super().check(semantics)
        if semantics.classifier is None:
            raise ValueError(
                "`guidance` must not be classifier for modes without a classifier of labelled images, got none: take "
                "bank=supervised, and run the project stage anew."
            )

    def assign(
        self, h: Tensor, step: Step, state: GuidanceState, branch: str = "cond", own: Tensor | None = None
    ) -> Tensor:
        """Return the classifier's probabilities (B, K), differentiable in `h`; each row counts as one of `branch`."""
        semantics = state.require_semantics()
        assert semantics.classifier is not None  # `check` refuses the others
        logits = semantics.classifier.logits(h.float(), step.timestep, semantics.bank.branches.index(branch))
        return torch.softmax(logits / float(self.temperature), dim=1)
