"""The contract of guidance, and the choice of none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from selfdebias.backbones.step import Step

if TYPE_CHECKING:
    from selfdebias.guidance.semantics import Semantics
    from selfdebias.guidance.state import GuidanceState


class Guidance(ABC):
    """Edits the bottleneck activation at one step.

    Hyper-parameters are validated in `__init__`; everything that changes while sampling is in the state, what a method keeps for
    itself in a `MethodState` of its own, as ``state.of(ThatState)``. Of a batch that several processes share, `h` holds this one's
    images: what depends on the others goes through `state.collective`.
    """

    needs_semantics = True  # whether the state must hold a projector and a bank
    splits = True  # whether a batch may be split over processes
    site = "bottleneck"  # where it acts on a pipeline, one of `selfdebias.backbones.hspace.SITES`

    def extrapolation(self, step: Step) -> float:
        """Return the scale w, at least 1, with which an edit is extrapolated where there is no classifier-free guidance.

        See `BottleneckHook`; 1 leaves the UNet call as it is.
        """
        return 1.0

    @property
    def passes(self) -> int:
        """How often each pipeline call is sampled from the same noise: 1; or 2, for a `SelectingGuidance`."""
        return 1

    @property
    def dependence(self) -> str:
        """What an image depends on, for the intervals: ``image``, itself alone; ``batch``, those drawn with it; ``run``,
        all drawn under one memory; ``remainder``, as ``batch``, or as ``run`` where a batch leaves something owed to the next.
        """
        return "batch"

    def check(self, semantics: Semantics) -> None:  # noqa: B027
        """Refuse, before an image is drawn, semantics that this guidance cannot work with.

        Raises:
            ValueError: if they are incompatible.
        """

    @abstractmethod
    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """Return the edited activation.

        Args:
            h: (branches x B, C, H, W), stacked as `step.branches` says.
            step: where in the sampling loop this is, and the schedule's weight there, in (0, 1].
            state: memory, trace and semantics.

        Returns:
            A tensor like `h`; `h` itself, not a copy, where nothing is changed.
        """


class SelectingGuidance(Guidance):
    """Samples each call twice from the same noise, and selects each image from one of both passes.

    The first pass is not edited, but watched.
    """

    @property
    def passes(self) -> int:
        """See `Guidance.passes`."""
        return 2

    @abstractmethod
    def watch(self, h: Tensor, step: Step, state: GuidanceState) -> None:
        """Take note of an activation before it is edited, at every step of both passes; arguments as in `edit`."""

    @abstractmethod
    def take_back(self, state: GuidanceState) -> Tensor:
        """Return which images of the current group, (B,) bool, are to be those of the first pass."""


class NoGuidance(Guidance):
    """Leaves every activation as it is."""

    needs_semantics = False
    dependence = "image"

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """Return `h` itself."""
        return h
