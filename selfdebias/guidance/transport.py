"""Transport: each image is given a mode so that the counts meet the target, and only those not there yet are pushed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.config.rules import number_in
from selfdebias.guidance.shares import kl_divergence
from selfdebias.guidance.state import GuidanceState, MethodState
from selfdebias.guidance.step_rule import AT_LEAST_1, SHARE, RelativeStepGuidance, along, require

TINY = 1e-6  # images; a difference below it is one of rounding


@dataclass
class TransportPlan:
    """Which mode each image of a group is to have.

    Attributes:
        owed: (K,) float64, images that each mode got fewer than its share in earlier batches.
        left: (K,) float64, the same after the current batch.
        modes: (n,) int64, the mode of each image of the current batch; None before it is assigned.
        decided: of several blocks, whether the best one's projector chose them.
    """

    owed: Tensor
    left: Tensor
    modes: Tensor | None = None
    decided: bool = False


class TransportState(MethodState):
    """The plan of each group; what a batch leaves owed is kept from call to call.

    Attributes:
        plans: by group.
    """

    def __init__(self) -> None:
        self.plans: dict[str, TransportPlan] = {}

    def plan(self, group: str, n_modes: int) -> TransportPlan:
        """Return a group's plan; one that owes nothing if there is none."""
        nothing = torch.zeros(n_modes, dtype=torch.float64)
        return self.plans.setdefault(group, TransportPlan(nothing, nothing))

    def begin(self) -> None:
        """See `MethodState.begin`."""
        self.plans = {name: TransportPlan(plan.left, plan.left) for name, plan in self.plans.items()}

    def forget(self) -> None:
        """See `MethodState.forget`."""
        self.plans = {name: TransportPlan(plan.owed, plan.owed) for name, plan in self.plans.items()}

    def tensors(self, group: str) -> dict[str, Tensor]:
        """See `MethodState.tensors`."""
        plan = self.plans.get(group)
        return {} if plan is None or plan.modes is None else {"owed": plan.left, "assigned": plan.modes}

    def restore(self, group: str, tensors: Mapping[str, Tensor]) -> None:
        """See `MethodState.restore`."""
        if "owed" in tensors:
            owed = tensors["owed"].clone()
            self.plans[group] = TransportPlan(owed, owed)


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
        slack: over-selection factor, at least 1: images edited per image that must switch. Some images hardly answer to an
            edit; of those that are pushed until `freeze`, the ones that came furthest then keep the mode, the others go back.
        decay: share, in [0, 1], of the rounding remainder carried to the next batch of the prompt; with 1 batches of any size,
            down to one image, come out right in the long run. Where each batch divides evenly nothing is carried, and batches
            do not depend on each other.
        closed_loop: whether images that did not come to their mode are carried too: counted is then where each image of a batch
            is, by its largest assignment at the last guided step, not which mode it was given. All images of a run then depend
            on each other.

    Raises:
        ValueError: if a value is out of range.
    """

    version = 2  # images whose assignment is below 1e-12 are pushed too

    def __init__(
        self, strength: float, temperature: float | str, branch: str = "contrast", settled: float = 0.85, freeze: float = 0.7,
        slack: float = 2.5, decay: float = 1.0, closed_loop: bool = False, limit: float = 2.0,
        target: Sequence[float] | str | None = None, extrapolation_scale: float = 1.0, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(strength, temperature, branch, limit, target, extrapolation_scale, axes)
        require(number_in(0, 1, "(]"), settled=settled)
        require(SHARE, freeze=freeze, decay=decay)
        require(AT_LEAST_1, slack=slack)
        if closed_loop and not decay:
            raise ValueError("`guidance.closed_loop` must be false where `guidance.decay` is 0: nothing is carried.")
        self.settled, self.freeze, self.slack, self.decay = settled, freeze, slack, decay
        self.closed_loop = closed_loop

    @property
    def dependence(self) -> str:
        """See `Guidance.dependence`."""
        return ("run" if self.closed_loop else "remainder") if self.decay else "batch"

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; where some gradient is not finite nothing is edited, and that is counted."""
        if self.strength == 0:
            return h
        h_cond = split_branches(h, step.branches)["cond"]
        with torch.enable_grad():
            leaf = h_cond.detach().float().requires_grad_(True)
            logits = self.logits(leaf, step, state)
            p = torch.softmax(logits, dim=1)
            everyone, own = state.collective.gather(p)
            modes, tried = self.modes(everyone, step, state)
            chosen = modes[own].to(p.device)[:, None]
            log_fit = torch.log_softmax(logits, dim=1).gather(1, chosen)[:, 0]  # finite where p is 0
            g = self.direction(leaf, log_fit, modes[own], step, state)
        missing = (1 - p.detach().gather(1, chosen)[:, 0] / self.settled).clamp(min=0) * tried[own].to(p)
        edit = along(g, (self.effect(step) * missing).clamp(max=self.limit), h_cond)
        p_hat = everyone.mean(dim=0)
        kl = kl_divergence(p_hat, self.pi(state).to(p_hat))
        return h if state.skips(edit) else self.apply(h, edit, p_hat, kl, step, state)

    def direction(self, leaf: Tensor, log_fit: Tensor, modes: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """Return where each image is pushed (B, C, H, W): ``d log p_ik / d h_i``, given its log p (B,) and its mode k (B,)."""
        return torch.autograd.grad(log_fit.sum(), leaf)[0]

    def modes(self, p: Tensor, step: Step, state: GuidanceState) -> tuple[Tensor, Tensor]:
        """Choose the modes of the images of all processes, anew until `freeze`; of several blocks, by the best one's projector.

        Args:
            p: (n, K) soft assignments.
            step, state: as in `Guidance.edit`.

        Returns:
            The mode (n,) int64 that each image is to have, and (n,) bool, whether it is pushed where it lacks some of it.
        """
        plan = state.of(TransportState).plan(state.group, p.shape[1])
        end = self.freeze * step.stop * step.count
        if plan.modes is None or (state.decides and (step.index < end or not plan.decided)):
            pi, inside = self.pi(state), p.nan_to_num().sum(dim=0).cpu()
            asked = counts = capacities(len(p), pi, plan.owed, inside)
            if step.index + 1 < end:  # `slack` times as many images are asked to switch as must
                wanted = counts.double() + (self.slack - 1) * (counts.double() - inside.double())
                asked = capacities(len(p), wanted.clamp(min=0), torch.zeros(len(counts)), inside)
            plan.modes, plan.decided = assign_modes(p, asked), state.decides
            plan.left = left_over(len(p), pi, plan.owed, counts, self.decay)
        if self.closed_loop and state.decides:
            came = torch.bincount(p.nan_to_num().argmax(dim=1), minlength=p.shape[1]).cpu()
            plan.left = left_over(len(p), self.pi(state), plan.owed, came, self.decay)
        return plan.modes, torch.ones(len(p), dtype=torch.bool)


def capacities(n: int, pi: Tensor, owed: Tensor, demand: Tensor) -> Tensor:
    """Return how many of `n` images each mode is to have: ``n pi + owed``, rounded by largest remainder.

    Args:
        n: images of the batch.
        pi: (K,) wanted shares.
        owed: (K,) float64, images that each mode got fewer than its share in earlier batches; sums to 0.
        demand: (K,) how many of the images are in each mode already; of two equal remainders the one in demand is rounded up.

    Returns:
        (K,) int64 that sum to `n`.

    Example:
        >>> half = torch.tensor([0.5, 0.5])
        >>> capacities(5, half, torch.zeros(2), torch.tensor([1.0, 4.0])).tolist()
        [2, 3]
        >>> capacities(1, half, torch.tensor([0.5, -0.5]), torch.tensor([0.0, 1.0])).tolist()
        [1, 0]
    """
    wanted = (n * exact(pi) + owed.double()).clamp(min=0)
    wanted = wanted * (n / wanted.sum())
    counts = torch.floor(wanted + TINY)
    remainder = torch.round(wanted - counts, decimals=6).numpy()
    first = np.lexsort((np.arange(len(pi)), -demand.double().numpy(), -remainder))
    counts[torch.from_numpy(first[: n - int(counts.sum())].copy())] += 1
    return counts.long()


def left_over(n: int, pi: Tensor, owed: Tensor, counts: Tensor, decay: float) -> Tensor:
    """Return the rounding remainder carried to the next batch, (K,) float64, of which `decay` is kept; float errors are 0.

    Example:
        >>> left_over(5, torch.tensor([0.5, 0.5]), torch.zeros(2), torch.tensor([2, 3]), 1.0).tolist()
        [0.5, -0.5]
    """
    left = decay * (n * exact(pi) + owed.double() - counts)
    return torch.where(left.abs() < TINY, 0.0, left)


def exact(pi: Tensor) -> Tensor:
    """Return shares (K,) in float64 that sum to 1 there."""
    return pi.double() / pi.double().sum()


def assign_modes(p: Tensor, counts: Tensor) -> Tensor:
    """Give each image a mode, so that each mode gets its count and ``sum_i -log p_ik`` is smallest.

    For two modes this cuts the order of the images' scores. Among images with equal assignments the first ones get the mode
    that is likelier. Solved exactly, by `scipy.optimize.linear_sum_assignment`.

    Args:
        p: (n, K) soft assignments; a row that is not finite counts as one that has no preference.
        counts: (K,) int64 that sum to n.

    Returns:
        (n,) int64.

    Example:
        >>> p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
        >>> assign_modes(p, torch.tensor([2, 2])).tolist()
        [0, 1, 0, 1]
    """
    from scipy.optimize import linear_sum_assignment  # here, since it is slow to import

    likely = torch.nan_to_num(p.detach().cpu().double(), nan=1 / p.shape[1]).clamp(min=1e-30)
    cost = -torch.log(likely).numpy()
    places = np.repeat(np.arange(len(counts)), counts.numpy())
    rows, columns = linear_sum_assignment(cost[:, places])
    modes = np.empty(len(cost), dtype=np.int64)
    modes[rows] = places[columns]
    return torch.from_numpy(_ties_by_order(cost, modes))


def _ties_by_order(cost: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Sort the modes within each set of equal rows, so that what the solver left open depends on the order alone."""
    _, kinds = np.unique(cost, axis=0, return_inverse=True)
    for kind in np.unique(kinds):
        (rows,) = np.nonzero(kinds.reshape(-1) == kind)
        own = modes[rows]
        modes[rows] = own[np.lexsort((own, cost[rows[0], own]))]
    return modes
