"""Transport in two sampling passes: the first, unguided, shows where each image ends by itself; only those that switch change."""

from __future__ import annotations

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.guidance.base import SelectingGuidance
from selfdebias.guidance.state import GuidanceState, MethodState
from selfdebias.guidance.transport import TransportGuidance, TransportState, assign_modes, capacities, left_over


class TwoPassState(MethodState):
    """Where the images of the current call end, beside the plans in `TransportState`.

    Attributes:
        ends: by group and whether the pass was guided, (B, K) assignments at its end, of this process.
        first: by group, (n, K) the same of the first pass, of all processes.
        tried: by group, (n,) bool, which images were once given another mode than that in which they ended there.
    """

    def __init__(self) -> None:
        self.ends: dict[tuple[str, bool], Tensor] = {}
        self.first: dict[str, Tensor] = {}
        self.tried: dict[str, Tensor] = {}

    def begin(self, guided: bool) -> None:
        """See `MethodState.begin`; the second pass knows where the first one ended."""
        self.ends = {place: end for place, end in self.ends.items() if guided and not place[1]}
        self.first, self.tried = {}, {}

    def first_pass(self, group: str) -> Tensor:
        """Return where the images of this process ended in the first pass, (B, K).

        Raises:
            ValueError: if there was none.
        """
        if (group, False) not in self.ends:
            raise ValueError(
                f"`TwoPassState.ends` must hold the first pass of {group!r}, got none: attach the guidance to a pipeline, "
                f"which then samples twice, and let the first pass come to its end."
            )
        return self.ends[group, False]


class TwoPassGuidance(SelectingGuidance, TransportGuidance):
    """`TransportGuidance` that samples each call twice from the same noise, and changes no image that it does not switch.

    At its first steps it can hardly be told in which mode an image will end, so transport edits some that would come to their
    mode by themselves, and edits more than must switch. Here the first pass, without an edit, shows where each image ends; in
    the second, one that is given that mode is left alone. At the end each image is that of the first or of the second pass, so
    that the counts meet the target with the fewest switched images: see `choose`. A closed loop counts what was chosen. The price
    is the time of a second sampling pass. Arguments as in `TransportGuidance`.
    """

    @property
    def passes(self) -> int:
        """See `Guidance.passes`; one where nothing would be edited."""
        return 2 if self.strength else 1

    def watch(self, h: Tensor, step: Step, state: GuidanceState) -> None:
        """See `SelectingGuidance.watch`; where an image ends is told by its assignments at the last step."""
        if step.index + 1 >= step.count:
            p = self.assign(split_branches(h, step.branches)["cond"].float(), step, state)
            state.of(TwoPassState).ends[state.group, state.guided] = p.nan_to_num()

    def modes(self, p: Tensor, step: Step, state: GuidanceState) -> tuple[Tensor, Tensor]:
        """See `TransportGuidance.modes`; of an image that was not tried yet, where it ended in the first pass counts.

        Images that need not switch lack nothing, and are not pushed.
        """
        passes, group = state.of(TwoPassState), state.group
        if group not in passes.first:
            passes.first[group], _ = state.collective.gather(passes.first_pass(group))
            passes.tried[group] = torch.zeros(len(p), dtype=torch.bool, device=p.device)
        first, tried = passes.first[group], passes.tried[group]
        modes, _ = super().modes(torch.where(tried[:, None], p, first), step, state)
        passes.tried[group] = tried | (modes.to(p.device) != first.argmax(dim=1))
        return modes, passes.tried[group]

    def take_back(self, state: GuidanceState) -> Tensor:
        """See `SelectingGuidance.take_back`: those that `choose` leaves, and none of a call that was interrupted."""
        passes = state.of(TwoPassState)
        own = passes.first_pass(state.group)
        if (state.group, True) not in passes.ends:
            return torch.zeros(len(own), dtype=torch.bool)
        first, place = state.collective.gather(own)
        last, _ = state.collective.gather(passes.ends[state.group, True])
        plan, pi = state.of(TransportState).plan(state.group, first.shape[1]), self.pi(state)
        counts = capacities(len(first), pi, plan.owed, first.sum(dim=0).cpu())
        chosen = choose(first, last, counts)
        if self.closed_loop:
            modes = torch.where(chosen, last.argmax(dim=1).cpu(), first.argmax(dim=1).cpu())
            counts = torch.bincount(modes, minlength=len(counts))
        plan.left = left_over(len(first), pi, plan.owed, counts, self.decay)
        state.trace.take_back(~chosen[place])
        return ~chosen[place]


def choose(first: Tensor, last: Tensor, counts: Tensor) -> Tensor:
    """Choose between two samples of each image so that the counts of the modes are met, with the fewest images of the second.

    Of more images that switched than must, those are chosen that are furthest in their mode; of fewer, all.

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
