"""What guidance is compared with: one direction for all images, and edits as large in random directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.self_debias import COUNTED_AT, pushed
from selfdebias.guidance.shares import kl_divergence
from selfdebias.guidance.state import GuidanceState, MethodState
from selfdebias.guidance.step_rule import ABOVE_0, BRANCH_OR_EACH, EACH, RelativeStepGuidance, add_edit, along, require
from selfdebias.guidance.transport import TransportGuidance
from selfdebias.modes.semantics import Semantics


class MeanDifferenceGuidance(RelativeStepGuidance):
    """Pushes images from the modes that have too many towards those that have too few, all in one direction.

    ``h_i <- h_i + s w ||h_i|| d / ||d|| gate / gain`` with ``d = sum_k (pi_k - p_hat_k) mean(h_t | mode k)`` and ``gate`` as in
    `SelfDebiasGuidance`. For two modes `d` is the difference of their means. The projector only counts.

    Args:
        strength, temperature, branch, limit, target, extrapolation_scale, axes: as in `RelativeStepGuidance`.
        kappa, slack, counted_at: as in `SelfDebiasGuidance`.

    Raises:
        ValueError: if a value is out of range.
    """

    needs_means = True

    def __init__(
        self, strength: float, temperature: float | str, branch: str = "contrast", kappa: float = 0.01, limit: float = 2.0,
        slack: float = 3.0, target: Sequence[float] | str | None = None, extrapolation_scale: float = 1.0,
        counted_at: float = COUNTED_AT, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(strength, temperature, branch, limit, target, extrapolation_scale, axes)
        require(ABOVE_0, kappa=kappa, slack=slack, counted_at=counted_at)
        self.kappa, self.slack, self.counted_at = kappa, slack, counted_at

    def check(self, semantics: Semantics) -> None:
        """See `Guidance.check`."""
        super().check(semantics)
        require_means(semantics, "mean_difference")

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; where some direction is not finite nothing is edited, and that is counted."""
        if self.strength == 0:
            return h
        h_cond, means = split_branches(h, step.branches)["cond"], state.require_semantics().means
        assert means is not None  # `check` refuses the others
        p = self.sharper(self.assign(h_cond, step, state), h_cond, step, state, self.counted_at)
        everyone, own = state.collective.gather(p.float())
        p_hat, pi = everyone.mean(dim=0), self.pi(state).to(everyone)
        kl = kl_divergence(p_hat, pi)
        chosen = pushed(everyone, self.slack * len(everyone) * (p_hat - pi))[own]
        d = torch.einsum("k,k...->...", pi - p_hat, means.at(step.timestep, h.shape[2:]).to(h.device))
        size = chosen * min(1.0, kl / self.kappa) * self.effect(step)
        edit = along(d.expand(h_cond.shape), size.clamp(max=self.limit), h_cond)
        return h if state.skips(edit) else self.apply(h, edit, p_hat, kl, step, state)


class MeanTransportGuidance(TransportGuidance):
    """`TransportGuidance` without a gradient: each image that it pushes goes along a fixed direction, to the mean of its mode.

    ``d_i = mean(h_t | mode k) - mean over the modes`` at the step, k being the mode that image i was given; of two modes that is
    the difference of their means. Which images are pushed, at which steps and how far, transport decides as ever. What it shows
    is whether transport's gradient adds to its gate. Arguments as in `TransportGuidance`.
    """

    needs_means = True
    version = 1  # it takes no gradient

    def check(self, semantics: Semantics) -> None:
        """See `Guidance.check`."""
        super().check(semantics)
        require_means(semantics, "mean_transport")

    def direction(self, leaf: Tensor, log_fit: Tensor, modes: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `TransportGuidance.direction`."""
        means = state.require_semantics().means
        assert means is not None  # `check` refuses the others
        return means.at(step.timestep, leaf.shape[2:])[modes].to(leaf)


def require_means(semantics: Semantics, name: str) -> None:
    """Raise a ValueError for semantics without the modes' mean activations, which the guidance of a name goes by."""
    if semantics.means is None:
        raise ValueError(
            f"`guidance` must not be {name} for modes without mean activations, got none: run the project stage anew."
        )


class ReplayedSizes(MethodState):
    """Sizes of another guidance's edits to the images of the current batch.

    Attributes:
        sizes: by `Step.visit`, (B,) relative to ``||h||``.
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
        """See `Guidance.edit`; the direction depends on the image's seed and on which edit of the call it is, alone.

        Nothing is done where the other guidance did nothing.
        """
        sizes = state.of(ReplayedSizes).sizes.get(step.visit)
        if sizes is None:
            return h
        halves = split_branches(h, step.branches)
        pooled = state.projector is not None and state.projector.reader == "pooled"
        edit = _edit(halves["cond"], sizes, step, state.seeds, pooled)
        no_modes = torch.zeros(0)  # are read by the control
        norms = edit.flatten(1).norm(dim=1) / halves["cond"].flatten(1).norm(dim=1)
        state.trace.add(step, no_modes, norms, 0.0)
        if self.branch == EACH and "uncond" in halves:
            return h + torch.cat([_edit(halves["uncond"], sizes, step, state.seeds, pooled, 1), edit])
        return add_edit(h, edit, "cond" if self.branch == EACH else self.branch, step.branches)


def _edit(h: Tensor, sizes: Tensor, step: Step, seeds: Sequence[int], pooled: bool, *more: int) -> Tensor:
    """Return edits of these sizes for the activations (B, C, H, W) of a branch, in directions that `more` numbers change.

    Where the projector reads the mean over space alone, the same at all places, as its gradient is.
    """
    noise = seeded_noise(seeds, step.visit, (*h.shape[:2], 1, 1) if pooled else h.shape, *more).expand(h.shape)
    directions = torch.stack([it / it.norm() for it in noise])
    return directions.to(h) * (sizes.to(h) * h.flatten(1).norm(dim=1))[:, None, None, None]


def seeded_noise(seeds: Sequence[int], index: int, shape: Sequence[int], *more: int) -> Tensor:
    """Return standard Gaussian noise (B, ...), float32 on the CPU; of an image it depends on its seed and the step alone.

    Args:
        seeds: (B,) of the images.
        index: of the edit, `Step.visit`.
        shape: of the noise.
        more: further numbers that it depends on.

    Raises:
        ValueError: if there is not one seed for each image.
    """
    if len(seeds) != shape[0]:
        raise ValueError(
            f"`generator` must be a list with one for each of the {shape[0]} images, got {len(seeds)}: "
            f"SelfDebias.generators(seeds) makes one."
        )
    keys = [np.random.SeedSequence((seed, index, *more)).generate_state(1, np.uint64)[0] >> 1 for seed in seeds]
    return torch.stack([torch.randn(shape[1:], generator=torch.Generator().manual_seed(int(key))) for key in keys])
