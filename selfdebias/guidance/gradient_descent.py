"""The paper's guidance: gradient descent on the KL of a batch's mode shares, by raw gradients; and as the official code has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.config.rules import number_in, or_null
from selfdebias.guidance.shares import EPSILON, kl_divergence
from selfdebias.guidance.state import GuidanceState
from selfdebias.guidance.step_rule import (
    ABOVE_0,
    BRANCH_OR_EACH,
    COUNT,
    EACH,
    SoftAssignmentGuidance,
    add_edit,
    limited,
    require,
    row_norms,
)

ETA = number_in(0, 1e15)  # beyond it nothing is measured but overflow


class GradientDescentGuidance(SoftAssignmentGuidance):
    """Gradient descent on ``sum_b KL(p_hat_b || pi)`` over the branches b, with a step on the raw gradient.

    ``h_i <- h_i - eta w N dL/dh_i``, w being the schedule's weight and N the images of the batch, so that one `eta` means the
    same at every batch size. ``p_hat_b`` is the mean of ``p_ik`` over the rows of branch b, held against the centroids of b. Every
    image has a gradient; its step is the larger the further the batch is from the target, and the more the image's own
    assignment answers to `h`.

    Args:
        eta: what the gradient is multiplied by, at least 0, and 0 changes nothing. It scales with ``||h||^2``, and holds for one
            model, projector and temperature.
        temperature, target, extrapolation_scale, axes: as in `SoftAssignmentGuidance`.
        branch: ``each``: the rows of each branch of classifier-free guidance have their own gradient, against their own
            centroids and over their own mean. With ``cond``, ``both`` or ``contrast`` there is the gradient of the conditional
            rows alone: it edits these, is copied to both branches, or is taken away from the unconditional ones.
        limit: largest edit of one row, as a fraction of its ``||h||``, > 0; None for no limit.
        inner_steps: full gradient steps at each step, at least 1.

    Raises:
        ValueError: if a value is out of range.

    References:
        arXiv 2512.03749, self-debiasing. The authors' code has ``eta = 2500 x 2600e4 / 32`` (`loss_strength`,
        `scaling_strength`; its gradient is that of a mean over a batch of 32), ``temperature=8`` and no limit.
    """

    def __init__(
        self, eta: float, temperature: float | str, branch: str = EACH, limit: float | None = None, inner_steps: int = 1,
        target: Sequence[float] | str | None = None, extrapolation_scale: float = 1.0, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(temperature, target, extrapolation_scale, axes)
        require(BRANCH_OR_EACH, branch=branch)
        require(ETA, eta=eta)
        require(or_null(ABOVE_0), limit=limit)
        require(COUNT, inner_steps=inner_steps)
        self.eta, self.branch, self.limit, self.inner_steps = eta, branch, limit, inner_steps

    def extrapolation(self, step: Step) -> float:
        """See `Guidance.extrapolation`."""
        return self.extrapolation_scale if self.eta else 1.0

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; where some gradient is not finite nothing is edited, and that is counted."""
        if self.eta == 0:
            return h
        edit, found = torch.zeros_like(h, dtype=torch.float32), []
        for _ in range(self.inner_steps):
            gradient, p_hat, kl = self._gradient(h.float() + edit, step, state)
            edit = edit - self.eta * step.weight * gradient
            edit = edit if self.limit is None else limited(edit, h, self.limit)
            found.append((p_hat, kl))
        if state.skips(edit):
            return h
        sizes = split_branches(row_norms(edit) / row_norms(h), step.branches)["cond"]
        p_hat, kl = found[0]  # before the edit
        state.trace.add(step, p_hat, sizes, kl)
        return (h.float() + edit).to(h.dtype) if edit.any() else h

    def rows(self, step: Step, count: int) -> Mapping[str, Tensor]:
        """Return which of `count` rows are counted as those of each branch, int64."""
        return split_branches(torch.arange(count), step.branches)

    def _gradient(self, h: Tensor, step: Step, state: GuidanceState) -> tuple[Tensor, Tensor, float]:
        """Return N dL/dh (rows, C, H, W), and of the conditional rows the mean assignment (K,) and the KL in nats.

        With the other images' assignments held fixed, ``N dL/dp_ik = log(p_hat_k / pi_k) + 1``: coefficients that need no gradient.
        """
        halves = split_branches(torch.arange(len(h)), step.branches)
        each = self.branch == EACH and not step.doubled  # where one half is there to be compared with, it is not edited
        rows = halves if step.doubled else self.rows(step, len(h))
        counted = rows if each else {"cond": rows["cond"]}
        known = state.require_semantics().bank.branches
        fitted = {name: step.fitted_as(name, known) for name in halves}
        own = torch.cat([torch.full((len(half),), known.index(fitted[name])) for name, half in halves.items()])
        with torch.enable_grad():
            leaf = h.detach().requires_grad_(True)
            losses = {}
            for name, places in counted.items():
                places = places.to(h.device)
                p = self.assign(leaf[places], step, state, fitted[name], own.to(h.device)[places])
                p_hat, pi = state.collective.gather(p)[0].mean(dim=0).clamp(min=EPSILON), self.pi(state).to(p)
                losses[name] = (p_hat, pi, (p * (torch.log(p_hat / pi) + 1)).sum())
            (gradient,) = torch.autograd.grad(torch.stack([loss for *_, loss in losses.values()]).sum(), leaf)
        if not each:
            zero, branch = torch.zeros_like(gradient), "cond" if self.branch == EACH else self.branch
            gradient = add_edit(zero, split_branches(gradient, step.branches)["cond"], branch, step.branches)
        p_hat, pi, _ = losses["cond"]
        return gradient, p_hat, kl_divergence(p_hat, pi)


class InterleavedGuidance(GradientDescentGuidance):
    """`GradientDescentGuidance` with a fault of the official code, to measure what it costs: it splits rows as even and odd ones.

    Even rows count as unconditional ones, odd rows as conditional ones, but diffusers stacks ``[uncond; cond]`` in two halves, so
    with more than one image half of the rows are held against the centroids of the other branch, and are counted in its mean.
    Every row keeps its own gradient. Without classifier-free guidance there is nothing to split.

    Args:
        eta, temperature, limit, inner_steps, target, extrapolation_scale, axes: as in `GradientDescentGuidance`.
        branch: ``each``; the split is one of two branches that are edited each by itself.

    Raises:
        ValueError: if a value is out of range.

    References:
        The authors' code of arXiv 2512.03749, ``0::2`` and ``1::2``.
    """

    splits = False  # which branch a row is counted as depends on how many there are

    def __init__(
        self, eta: float, temperature: float | str, branch: str = EACH, limit: float | None = None, inner_steps: int = 1,
        target: Sequence[float] | str | None = None, extrapolation_scale: float = 1.0, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(eta, temperature, branch, limit, inner_steps, target, extrapolation_scale, axes)
        if branch != EACH:
            raise ValueError(f"`guidance.branch` must be {EACH} for interleaved rows, got {branch!r}.")

    def rows(self, step: Step, count: int) -> Mapping[str, Tensor]:
        """See `GradientDescentGuidance.rows`."""
        if step.branches == ("cond",):
            return super().rows(step, count)
        return {"uncond": torch.arange(0, count, 2), "cond": torch.arange(1, count, 2)}
