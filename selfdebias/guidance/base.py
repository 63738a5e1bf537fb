"""The contract of guidance, what it may be refused for, and the choices without an edit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from selfdebias.backbones.calling import Step
from selfdebias.config.combinations import attribute_texts
from selfdebias.guidance.state import GuidanceState
from selfdebias.modes.semantics import AxesSemantics, Semantics


class Method:
    """What balances modes: a guidance edits, a selection chooses among seeds. Hyper-parameters are validated in `__init__`."""

    needs_semantics = True  # whether the state must hold a projector and a bank
    needs_means = False  # whether it goes by the modes' mean activations
    needs_encoder = False  # whether it looks at finished images, where it can
    splits = True  # whether a batch may be split over processes
    target: Sequence[float] | str | None = None  # wanted shares of the modes; None takes the bank's
    told = ""  # what it was told of the attribute, for tables; empty for guidance without labels
    axes: Sequence[int] | None = None  # which axes are balanced, where there are some; None balances all

    @property
    def dependence(self) -> str:
        """What an image depends on, for the intervals: ``image``, itself alone; ``batch``, those sampled with it; ``run``,
        all sampled under one memory; ``remainder``, as ``batch``, or as ``run`` where a batch leaves something owed to the next.
        """
        return "batch"

    @property
    def version(self) -> int:
        """Part of the key of what it samples: another number once the same options sample other images than before."""
        return 1

    def check(self, semantics: Semantics) -> None:
        """Refuse, before an image is sampled, semantics that this method cannot work with.

        Raises:
            ValueError: if they are incompatible.
        """


class Guidance(Method, ABC):
    """Edits the bottleneck activation, or what is at another site, at one step.

    Everything that changes while sampling is in the state, what a method keeps for itself in a `MethodState` of its own, as
    ``state.of(ThatState)``. Of a batch that several processes share, `h` holds this one's images: what depends on the others
    goes through `state.collective`.
    """

    balances = True  # modes; one that does not is asked once of all axes, and where there is one mode too
    standardised = (
        True  # edits are found in standardised coordinates, where the projector says so; False takes `h_t` as it is
    )
    site = "bottleneck"  # where it acts on a pipeline, one of `selfdebias.backbones.hspace.SITES`

    def extrapolation(self, step: Step) -> float:
        """Return the scale w, at least 1, with which an edit is extrapolated where there is no classifier-free guidance.

        See `BottleneckHook`; 1 leaves the denoiser's call as it is.
        """
        return 1.0

    @abstractmethod
    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """Return the edited activation; add what was done to `state.trace`.

        A guidance changes `h` at its first call already, unless its size is 0: then it is no guidance, bit for bit.

        Args:
            h: (branches x B, C, H, W), at the site `text` (branches x B, L, D), stacked as `step.branches` says; not to be
                changed in place.
            step: where in the sampling loop this is, and the schedule's weight there, in (0, 1].
            state: memory, trace and semantics.

        Returns:
            A tensor of the same shape and dtype as `h`, without gradient; `h` itself, not a copy, where nothing is changed.
        """


class NoGuidance(Guidance):
    """Leaves every activation as it is."""

    needs_semantics = False
    dependence = "image"

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """Return `h` itself."""
        return h


class AttributePrompts(NoGuidance):
    """The oracle that knows the attribute: no edit, and images that are sampled from prompts that state it, in equal shares.

    Args:
        texts: what stands in place of the prompt's noun and its article, each for an equal share of the images; ``{}`` is the
            noun: "a man {}", "a woman {}".
        generic: a noun that says no more than the texts do, and is left out: "person".

    Raises:
        ValueError: if `texts` has not at least two different texts, or one has ``{}`` twice.

    References:
        As Fair-Diffusion (arXiv 2302.10893) has it, by prompts alone.
    """

    told = "the attribute, by prompts that state it"

    def __init__(self, texts: Sequence[str], generic: str = "person"):
        self.texts, self.generic = list(texts), generic
        attribute_texts("a thing", self.texts, generic)


def chosen_axes(guidance: Method, count: int) -> list[int]:
    """Return which of `count` axes a guidance balances: those of its option `axes`, else all."""
    return list(range(count)) if guidance.axes is None else list(guidance.axes)


def check_all(guidance: Method, semantics: Semantics | AxesSemantics) -> None:
    """Refuse semantics that a guidance cannot work with, as `Guidance.check` does; of axes each one that is balanced.

    Raises:
        ValueError: if they are incompatible, or `guidance.axes` names an axis that is not there.
    """
    if not isinstance(semantics, AxesSemantics):
        if guidance.axes is not None and len(semantics.bank.target) == 1:
            raise ValueError(
                f"`guidance.axes` must be null where one mode alone was found, got {guidance.axes}: nothing is balanced; take more "
                f"images, or an encoder that tells them apart."
            )
        if guidance.axes is not None:
            raise ValueError(
                f"`guidance.axes` must be null where modes are one partition, got {guidance.axes}: choose clustering=axes."
            )
        guidance.check(semantics)
        return
    count = len(semantics.axes)
    for a in chosen_axes(guidance, count):
        if a >= count:
            raise ValueError(
                f"`guidance.axes` must be among the {count} that were found, 0 to {count - 1}, got {a}: the report shows them."
            )
        guidance.check(semantics.axes[a])
