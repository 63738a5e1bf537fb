"""The control: edits as large as those of another guidance, in random directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.state import GuidanceState, MethodState
from selfdebias.guidance.step_rule import BRANCH_OR_EACH, EACH, add_edit, require


class ReplayedSizes(MethodState):
    """Sizes of another guidance's edits to the images of the current batch.

    Attributes:
        sizes: by step index, (B,) relative to ``||h||``.
    """

    def __init__(self) -> None:
        self.sizes: Mapping[int, Tensor] = {}


class RandomGuidance(Guidance):
    """Replays the sizes of another guidance's edits, image by image and step by step, in random directions.

    If this arm stays where vanilla is, it is the direction of the edits that moves the other, not their size.

    Args:
        branch: ``cond``, ``both``, ``contrast`` or ``each``, as that of the guidance whose sizes are replayed; with ``each``,
            both branches have edits of the conditional one's size, in directions of their own.
        extrapolation_scale: likewise.

    Raises:
        ValueError: if the branch rule is not known.
    """

    needs_semantics = False

    def __init__(self, branch: str = "cond", extrapolation_scale: float = 1.0):
        require(BRANCH_OR_EACH, branch=branch)
        self.branch, self.extrapolation_scale = branch, extrapolation_scale

    def extrapolation(self, step: Step) -> float:
        """See `Guidance.extrapolation`."""
        return self.extrapolation_scale

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; the direction depends on the image's seed and the step alone.

        Nothing is done where the other guidance did nothing.
        """
        sizes = state.of(ReplayedSizes).sizes.get(step.index)
        if sizes is None:
            return h
        halves = split_branches(h, step.branches)
        edit = _edit(halves["cond"], sizes, step, state.seeds)
        no_modes = torch.zeros(0)  # are read by the control
        norms = edit.flatten(1).norm(dim=1) / halves["cond"].flatten(1).norm(dim=1)
        state.trace.add(step.index, no_modes, norms, 0.0)
        if self.branch == EACH and "uncond" in halves:
            return h + torch.cat([_edit(halves["uncond"], sizes, step, state.seeds, 1), edit])
        return add_edit(h, edit, "cond" if self.branch == EACH else self.branch, step.branches)


def _edit(h: Tensor, sizes: Tensor, step: Step, seeds: Sequence[int], *more: int) -> Tensor:
    """Return edits of these sizes for the activations (B, C, H, W) of a branch, in directions that `more` numbers change."""
    directions = []
    for seed in seeds:  # each depends on the image's seed and the step alone
        own = int(np.random.SeedSequence((seed, step.index, *more)).generate_state(1, np.uint64)[0] >> 1)
        noise = torch.randn(h.shape[1:], generator=torch.Generator().manual_seed(own))
        directions.append(noise / noise.norm())
    return torch.stack(directions).to(h) * (sizes.to(h) * h.flatten(1).norm(dim=1))[:, None, None, None]
