"""What methods share: soft assignments, the size of an edit, and the branches that it acts on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.config.ranges import TARGET
from selfdebias.config.rules import LARGEST, Rule, at_least, list_of, number_in, one_of, refuse
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.shares import EPSILON, wanted_shares
from selfdebias.guidance.state import GuidanceState
from selfdebias.modes.semantics import Semantics

CALIBRATED = "calibrated"
SIGNS = {
    "cond": (0.0, 1.0),
    "both": (1.0, 1.0),
    "contrast": (-1.0, 1.0),
}  # of an edit, on the uncond and the cond branch
EACH = "each"  # no sign: the rows of each branch have an edit of their own
# What a value may be; above the largest number nothing is measured but overflow.
ABOVE_0, AT_LEAST_0, AT_LEAST_1 = number_in(0, LARGEST, "(]"), number_in(0, LARGEST), number_in(1, LARGEST)
SHARE, COUNT, BRANCH, BRANCH_OR_EACH = number_in(0, 1), at_least(1), one_of(*SIGNS), one_of(*SIGNS, EACH)
AXES = Rule(
    "null or different axes, whole numbers from 0",
    lambda axes: axes is None or (list_of(at_least(0)).holds(axes) and len(set(axes)) == len(axes)),
)


def require(rule: Rule, **values: Any) -> None:
    """Raise a ValueError for the first of a guidance's values, by name, that breaks a rule."""
    for name, value in values.items():
        if not rule.holds(value):
            raise refuse(f"guidance.{name}", rule.words, value)


class SoftAssignmentGuidance(Guidance):
    """Reads ``p_ik = softmax_k(cos(phi(h_i, t), c_k) / tau)`` off the activations, and holds their mean against `pi`.

    Args:
        temperature: `tau` of the soft assignment, on cosines, > 0; ``calibrated`` takes those of the bank, by timestep.
        target: `pi`, shares by mode, the largest mode first, that sum to 1; ``uniform``; ``depth``, by the modes' depths in
            their tree; None takes the bank's.
        extrapolation_scale: w, at least 1: where the pipeline has no classifier-free guidance, the denoiser sees each image with
            and without the edit, and the prediction is ``(1 - w) eps_u + w eps_c``. There w is what a guidance scale is
            elsewhere: the edit counts by the same gains, at the price of a batch twice as large. 1 turns it off.
        axes: which axes are balanced, numbers from 0; the others are left alone. None balances all, and is the only choice where
            modes are one partition.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(
        self, temperature: float | str, target: Sequence[float] | str | None, extrapolation_scale: float,
        axes: Sequence[int] | None = None,
    ):  # fmt: skip
        require(AT_LEAST_1, extrapolation_scale=extrapolation_scale)
        if temperature != CALIBRATED:
            require(ABOVE_0, temperature=temperature)
        shares = list(target) if isinstance(target, Iterable) and not isinstance(target, str) else target
        require(TARGET, target=shares)
        require(AXES, axes=axes)
        self.temperature, self.extrapolation_scale = temperature, extrapolation_scale
        self.target = [float(share) for share in shares] if isinstance(shares, list) else shares
        self.axes = None if axes is None else list(axes)

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
        return torch.softmax(self.logits(h, step, state, branch, own), dim=1)

    def logits(
        self, h: Tensor, step: Step, state: GuidanceState, branch: str = "cond", own: Tensor | None = None
    ) -> Tensor:
        """Return what `assign` takes the softmax of, (B, K); arguments as there."""
        semantics = state.require_semantics()
        calibrated = self.temperature == CALIBRATED
        tau = semantics.bank.temperature(step.timestep, branch) if calibrated else float(self.temperature)
        return semantics.logits(h, step.timestep, branch, tau, own)

    def sharper(self, p: Tensor, h: Tensor, step: Step, state: GuidanceState, temperature: float) -> Tensor:
        """Return soft assignments (B, K) at a temperature, without gradient; `p`, the guidance's own, where that is no softer."""
        if self.temperature == CALIBRATED or float(self.temperature) <= temperature:
            return p.detach()
        with torch.no_grad():
            return state.require_semantics().assign(h, step.timestep, "cond", temperature)

    def pi(self, state: GuidanceState) -> Tensor:
        """Return the wanted shares (K,), each larger than 0 so that its logarithm is finite."""
        return wanted_shares(self.target, state.require_semantics().bank).clamp(min=EPSILON)


class RelativeStep(Guidance):
    """Edits whose size is a fraction of ``||h||``: ``strength x weight / gain``; a method computes the edit in its
    own `edit`, and hands it to `apply`.

    Args:
        strength: `s`, the size of the edit's effect as a fraction of ``||h||``; at least 0, and 0 changes nothing.
        branch: ``cond``, ``both`` or ``contrast``: the branch of classifier-free guidance that is edited.
        limit: largest size of one image's edit, as a fraction of its ``||h||``, > 0.
        extrapolation_scale: as in `SoftAssignmentGuidance`.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(self, strength: float, branch: str, limit: float, extrapolation_scale: float):
        require(BRANCH, branch=branch)
        require(AT_LEAST_0, strength=strength)
        require(ABOVE_0, limit=limit)
        require(AT_LEAST_1, extrapolation_scale=extrapolation_scale)
        self.strength, self.branch, self.limit = strength, branch, limit
        self.extrapolation_scale = extrapolation_scale

    def extrapolation(self, step: Step) -> float:
        """See `Guidance.extrapolation`."""
        return self.extrapolation_scale if self.strength else 1.0

    def effect(self, step: Step) -> float:
        """Return the size of an edit as a fraction of ``||h||``: one strength means the same at every guidance scale and rule."""
        return self.strength * step.weight / branch_gain(self.branch, step.guidance_scale)

    def apply(self, h: Tensor, edit: Tensor, p_hat: Tensor, kl: float, step: Step, state: GuidanceState) -> Tensor:
        """Return the edited activation, and note the edit in the trace.

        Args:
            h: (branches x B, C, H, W), stacked as `step.branches` says.
            edit: (B, C, H, W), finite, of the conditional branch.
            p_hat: (K,) projected shares of the whole batch before it.
            kl: ``KL(p_hat || pi)`` in nats, memory counted in.
            step, state: as in `Guidance.edit`.
        """
        h_cond = split_branches(h, step.branches)["cond"]
        norms = edit.flatten(1).norm(dim=1) / h_cond.flatten(1).norm(dim=1)
        state.trace.add(step, p_hat, norms, kl)
        return add_edit(h, edit, self.branch, step.branches) if edit.any() else h


class RelativeStepGuidance(RelativeStep, SoftAssignmentGuidance):
    """Edits of a relative size that are found by soft assignments; arguments as in `RelativeStep` and `SoftAssignmentGuidance`."""

    def __init__(
        self, strength: float, temperature: float | str, branch: str, limit: float, target: Sequence[float] | str | None,
        extrapolation_scale: float, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        SoftAssignmentGuidance.__init__(self, temperature, target, extrapolation_scale, axes)
        RelativeStep.__init__(self, strength, branch, limit, extrapolation_scale)


def branch_gain(rule: str, guidance_scale: float) -> float:
    """Return how much an edit counts in the guided prediction ``(1 - w) eps_u + w eps_c``.

    Args:
        rule: ``cond`` (the conditional branch), ``both``, or ``contrast`` (opposite edits).
        guidance_scale: w, at least 1; 1 where there is no guidance.

    Returns:
        w, 1 or 2 w - 1; 1 without guidance.

    Example:
        >>> [branch_gain(rule, 3.0) for rule in ("cond", "both", "contrast")]
        [3.0, 1.0, 5.0]
    """
    uncond, cond = SIGNS[rule]
    return uncond * (1 - guidance_scale) + cond * guidance_scale


def add_edit(h: Tensor, edit: Tensor, rule: str, branches: tuple[str, ...]) -> Tensor:
    """Add an edit of the conditional branch (B, C, H, W) to the stacked activation, by the rule."""
    if branches == ("cond",):
        return h + edit
    uncond, cond = SIGNS[rule]
    return h + torch.cat([uncond * edit, cond * edit])


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


def limited(edit: Tensor, h: Tensor, limit: float) -> Tensor:
    """Return edits (B, C, H, W) float32 of which no row is larger than `limit`, a fraction of the norm of its `h`."""
    size = row_norms(edit) / (row_norms(h) + EPSILON)
    return edit.float() * (limit / size.clamp(min=limit))[:, None, None, None]


def row_norms(x: Tensor) -> Tensor:
    """Return the norm of each row of (B, C, H, W), (B,) float32."""
    return x.float().flatten(1).norm(dim=1)
