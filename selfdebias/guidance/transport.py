"""Transport: each image is given a mode so that the counts meet the target, and only those not there yet are pushed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.backbones.hspace import Step
from selfdebias.guidance.assignment import assign_modes, capacities, left_over, widened
from selfdebias.guidance.relative_step import Move, RelativeStepGuidance, along
from selfdebias.guidance.soft_assignment import EPSILON, check_above_0, check_at_least, check_share, kl_divergence
from selfdebias.guidance.state import GuidanceState


class TransportGuidance(RelativeStepGuidance):
    """Optimal transport of the batch's images to modes, and a push of each image that is not in its mode yet.

    Capacities ``n pi_k``, rounded by largest remainder; the assignment that meets them with the least ``sum -log p_ik``; then
    ``h_i <- h_i + s w ||h_i|| g_i / ||g_i|| max(0, 1 - p_ik / settled) / gain`` with ``g_i = d log p_ik / d h_i``, k being the
    mode that image i was given. Images in their modes are left as they are, bit for bit.

    Args:
        strength: `s`, the size of the effect on an image that lacks all of its mode, as a fraction of ``||h||``; at least 0.
        temperature, branch, limit, target, extrapolation_scale, axes: as in `RelativeStepGuidance`.
        settled: the assignment from which on an image counts as being in its mode, in (0, 1].
        freeze: images are assigned anew at each step up to here, as a fraction in [0, 1] of the steps up to the end of the guidance
            schedule; then they keep their mode.
        slack: how many images are tried, as a multiple of those that have to turn, at least 1. Some images hardly answer to an
            edit; of those that are pushed until `freeze`, the ones that came furthest then keep the mode, the others go back.
        decay: share, in [0, 1], of what rounding left owed to a mode that the next batch of the prompt makes up for; with 1
            batches of any size, down to one image, come out right in the long run. Where each batch divides evenly nothing is
            owed, and batches do not depend on each other.
        closed_loop: whether images that did not come to their mode are owed too: counted is then where each image of a batch is,
            by its largest assignment at the last guided step, not which mode it was given. All images of a run then depend on
            each other.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(
        self, strength: float, temperature: float | str, branch: str = "contrast", settled: float = 0.85, freeze: float = 0.7,
        slack: float = 2.5, decay: float = 1.0, closed_loop: bool = False, limit: float = 2.0,
        target: Sequence[float] | str | None = None, extrapolation_scale: float = 1.0, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(strength, temperature, branch, limit, target, extrapolation_scale, axes)
        check_above_0("settled", settled)
        for name, value in (("settled", settled), ("freeze", freeze), ("decay", decay)):
            check_share(name, value)
        check_at_least("slack", slack, 1)
        self.settled, self.freeze, self.slack, self.decay = settled, freeze, slack, decay
        self.closed_loop = closed_loop

    @property
    def dependence(self) -> str:
        """See `Guidance.dependence`."""
        return ("run" if self.closed_loop else "remainder") if self.decay else "batch"

    def move(self, h: Tensor, step: Step, state: GuidanceState) -> Move:
        """See `RelativeStepGuidance.move`."""
        with torch.enable_grad():
            leaf = h.detach().float().requires_grad_(True)
            p = self.assign(leaf, step, state)
            everyone, own = state.collective.gather(p)
            modes = self._modes(everyone, step, state)[own].to(p.device)
            fit = p.gather(1, modes[:, None])[:, 0]
            (gradient,) = torch.autograd.grad(torch.log(fit.clamp(min=EPSILON)).sum(), leaf)
        missing = self._missing(fit.detach(), own, state)
        edit = along(gradient, (self.effect(step) * missing).clamp(max=self.limit), h)
        p_hat = everyone.mean(dim=0)
        return Move(edit, p_hat, kl_divergence(p_hat, self.pi(state).to(p_hat)))

    def _missing(self, fit: Tensor, own: slice, state: GuidanceState) -> Tensor:
        """Return what images (B,) lack of their modes, in [0, 1]; `own` says where they are among those of all processes."""
        return (1 - fit / self.settled).clamp(min=0)

    def _modes(self, p: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """Return the mode (n,) that each image of all processes is to have; they are chosen anew until `freeze`."""
        plan = state.plan(p.shape[1])
        end = self.freeze * step.stop * step.count
        if plan.modes is None or step.index < end:
            pi, inside = self.pi(state), p.nan_to_num().sum(dim=0).cpu()
            counts = capacities(len(p), pi, plan.owed, inside)
            trying = step.index + 1 < end
            plan.modes = assign_modes(p, widened(counts, inside, self.slack) if trying else counts)
            plan.left = left_over(len(p), pi, plan.owed, counts, self.decay)
        if self.closed_loop:
            came = torch.bincount(p.nan_to_num().argmax(dim=1), minlength=p.shape[1]).cpu()
            plan.left = left_over(len(p), self.pi(state), plan.owed, came, self.decay)
        return plan.modes
