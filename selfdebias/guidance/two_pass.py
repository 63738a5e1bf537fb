"""Transport in two passes: the first, unguided, shows where each image ends by itself; only images that turn are changed."""

from __future__ import annotations

import torch
from torch import Tensor

from selfdebias.backbones.hspace import Step, split_branches
from selfdebias.guidance.assignment import assign_modes, capacities, left_over
from selfdebias.guidance.state import GuidanceState
from selfdebias.guidance.transport import TransportGuidance


class TwoPassGuidance(TransportGuidance):
    """`TransportGuidance` that draws each call twice from the same noise, and changes no image that it does not turn.

    At its first steps it can hardly be told in which mode an image will end, so transport edits some that would come to their
    mode by themselves, and tries more than have to turn. Here the first pass, without an edit, shows where each image ends; in
    the second, one that is given that mode is left alone. At the end each image is that of the first or of the second pass, so
    that the counts meet the target with the fewest turned images: see `choose`. A closed loop counts what was chosen. The price
    is the time of a second drawing. Arguments as in `TransportGuidance`.
    """

    @property
    def passes(self) -> int:
        """See `Guidance.passes`; where nothing would be edited, one."""
        return 2 if self.strength else 1

    def watch(self, h: Tensor, step: Step, state: GuidanceState) -> None:
        """See `Guidance.watch`; where an image ends is told by its assignments at the last step."""
        if step.index + 1 >= step.count:
            p = self.assign(split_branches(h, step.branches)["cond"].float(), step, state)
            state.ends[state.group, state.guided] = p.nan_to_num()

    def take_back(self, state: GuidanceState) -> Tensor:
        """See `Guidance.take_back`: those that `choose` leaves, and none of a call that was interrupted."""
        own = self._first_pass(state)
        if (state.group, True) not in state.ends:
            return torch.zeros(len(own), dtype=torch.bool)
        first, place = state.collective.gather(own)
        last, _ = state.collective.gather(state.ends[state.group, True])
        plan, pi = state.plan(first.shape[1]), self.pi(state)
        counts = capacities(len(first), pi, plan.owed, first.sum(dim=0).cpu())
        chosen = choose(first, last, counts)
        if self.closed_loop:
            modes = torch.where(chosen, last.argmax(dim=1).cpu(), first.argmax(dim=1).cpu())
            counts = torch.bincount(modes, minlength=len(counts))
        plan.left = left_over(len(first), pi, plan.owed, counts, self.decay)
        state.trace.take_back(~chosen[place])
        return ~chosen[place]

    def _missing(self, fit: Tensor, own: slice, state: GuidanceState) -> Tensor:
        """See `TransportGuidance._missing`; images that have not to turn lack nothing."""
        tried = state.plans[state.group].tried
        assert tried is not None  # `_modes` comes first
        return super()._missing(fit, own, state) * tried[own].to(fit)

    def _modes(self, p: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `TransportGuidance._modes`; of an image that was not tried yet, where it ended in the first pass counts."""
        plan = state.plan(p.shape[1])
        if plan.ends is None or plan.tried is None:
            plan.ends, _ = state.collective.gather(self._first_pass(state))
            plan.tried = torch.zeros(len(p), dtype=torch.bool, device=p.device)
        modes = super()._modes(torch.where(plan.tried[:, None], p, plan.ends), step, state)
        plan.tried = plan.tried | (modes.to(p.device) != plan.ends.argmax(dim=1))
        return modes

    @staticmethod
    def _first_pass(state: GuidanceState) -> Tensor:
        """Return where the images of this process ended in the first pass, (B, K).

        Raises:
            ValueError: if there was none.
        """
        if (state.group, False) not in state.ends:
            raise ValueError(
                f"`state.ends` must hold the first pass of {state.group!r}, got none: attach the guidance to a pipeline, "
                f"which then draws twice, and let the first drawing come to its end."
            )
        return state.ends[state.group, False]


def choose(first: Tensor, last: Tensor, counts: Tensor) -> Tensor:
    """Choose between two drawings of each image so that the counts of the modes are met, with the fewest images of the second.

    Of more images that turned than have to, those are chosen that are furthest in their mode; of fewer, all.

    Args:
        first: (n, K) soft assignments at the end of the first pass.
        last: (n, K) the same of the second.
        counts: (K,) int64 that sum to n.

    Returns:
        (n,) bool, on the CPU: whether an image is to be that of the second pass; never where both end in the same mode.

    Example:
        >>> first = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
        >>> last = torch.tensor([[0.4, 0.6], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
        >>> choose(first, last, torch.tensor([2, 2])).tolist()
        [False, False, True, False]
    """
    first, last = first.cpu(), last.cpu()
    before, after = first.argmax(dim=1, keepdim=True), last.argmax(dim=1, keepdim=True)
    fit = torch.zeros_like(first).scatter(1, after, last.gather(1, after) / 2).scatter(1, before, 1.0)
    modes = assign_modes(fit, counts)
    return (modes == after[:, 0]) & (modes != before[:, 0])
