"""Transport in two passes: the first, unguided, shows where each image ends by itself; only images that turn are changed."""

from __future__ import annotations

import torch
from torch import Tensor

from selfdebias.guidance.state import GuidanceState
from selfdebias.guidance.transport import TransportGuidance
from selfdebias.hspace import Step, split_branches


class TwoPassGuidance(TransportGuidance):
    """`TransportGuidance` that draws each call twice from the same noise, and changes no image that it does not turn.

    At its first steps it can hardly be told in which mode an image will end, so transport edits some that would come to their
    mode by themselves, and tries more than have to turn. Here the first pass, without an edit, shows where each image ends; in
    the second, one that is given that mode is left alone, and one that ends in it all the same, though it was given another, is
    replaced by that of the first pass. So each image is turned, or the vanilla one bit for bit. The price is the time of a
    second drawing. Arguments as in `TransportGuidance`.
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
        """See `Guidance.take_back`: those that ended in the same mode in both passes; none of a call that was interrupted."""
        first = self._first_pass(state).argmax(dim=1).cpu()
        last = state.ends.get((state.group, True))
        same = torch.zeros_like(first, dtype=torch.bool) if last is None else first == last.argmax(dim=1).cpu()
        state.trace.take_back(same)
        return same

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
