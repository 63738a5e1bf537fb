"""What methods share: soft assignments and the wanted shares, the size of an edit, and the branches that it acts on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.backbones.step import Step, split_branches
from selfdebias.config.rules import LARGEST
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.semantics import Semantics, check_target, wanted_shares
from selfdebias.guidance.state import GuidanceState

EPSILON = 1e-12
CALIBRATED = "calibrated"
RULES = {"cond": (0.0, 1.0), "both": (1.0, 1.0), "contrast": (-1.0, 1.0)}  # signs on the uncond and the cond branch
EACH = "each"  # no sign: the rows of each branch have an edit of their own


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


class RelativeStepGuidance(SoftAssignmentGuidance):
    """Edits whose size is a fraction of ``||h||``: ``strength x weight / gain``; a method computes the edit in its
    own `edit`, and hands it to `apply`.

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
        state.trace.add(step.index, p_hat, norms, kl)
        return add_edit(h, edit, self.branch, step.branches) if edit.any() else h


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
    uncond, cond = RULES[rule]
    return uncond * (1 - guidance_scale) + cond * guidance_scale


def add_edit(h: Tensor, edit: Tensor, rule: str, branches: tuple[str, ...]) -> Tensor:
    """Add an edit of the conditional branch (B, C, H, W) to the stacked activation, by the rule."""
    if branches == ("cond",):
        return h + edit
    uncond, cond = RULES[rule]
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


def kl_divergence(p_hat: Tensor, pi: Tensor) -> float:
    """Return ``KL(p_hat || pi)`` in nats, at least 0: in float32 it can come out slightly negative.

    Example:
        >>> round(kl_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])), 4)
        0.6931
    """
    p_hat = p_hat.clamp(min=EPSILON)
    return max(float((p_hat * torch.log(p_hat / pi)).sum()), 0.0)


def check_rule(rule: str, *others: str) -> None:
    """Raise a ValueError for a rule that is neither among `RULES` nor the others."""
    if rule not in (*RULES, *others):
        raise ValueError(f"`guidance.branch` must be one of {', '.join((*RULES, *others))}, got {rule!r}.")


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


def check_steps(inner_steps: int) -> None:
    """Raise a ValueError unless the number of gradient steps is a whole number of at least 1."""
    if not (isinstance(inner_steps, int) and not isinstance(inner_steps, bool) and inner_steps >= 1):
        raise ValueError(f"`guidance.inner_steps` must be a whole number of at least 1, got {inner_steps}.")


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
