"""Whose images the modes are found on, and whose the projector and the mode bank are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selfdebias.config.prompts import different_texts
from selfdebias.config.rules import one_of, refuse

SHARED, PROMPT = "shared", "prompt"
THRESHOLD = one_of(SHARED, PROMPT)


@dataclass(frozen=True)
class OwnBank:
    """Each prompt's own: found and fitted on its images alone."""


@dataclass(frozen=True)
class SupervisedBank:
    """Each prompt's own, with the classes of a judge in place of discovered modes.

    Args:
        attribute: an attribute that the judge knows.

    Raises:
        ValueError: if `attribute` is blank.

    References:
        Parihar et al., Balancing Act, arXiv 2402.18206.
    """

    attribute: str

    def __post_init__(self) -> None:
        if not isinstance(self.attribute, str) or not self.attribute.strip():
            raise ValueError(f"`bank.attribute` must be the name of an attribute of the judge, got {self.attribute!r}.")


@dataclass(frozen=True)
class SharedBank:
    """One for all prompts of a job.

    Args:
        fitting: prompts that projector and bank are fitted on; None for those of the job.

    Raises:
        ValueError: if `fitting` is empty, or one is blank or there twice.
    """

    fitting: tuple[str, ...] | None

    def __init__(self, fitting: Sequence[str] | None = None):
        object.__setattr__(self, "fitting", None if fitting is None else different_texts("fitting", fitting, "bank"))


@dataclass(frozen=True, init=False)
class MixtureBank(SharedBank):
    """One for all prompts; the modes are found on all of them, each prompt's mean taken away.

    Two modes go by their axis, and hold for prompts that are not in the mixture; more than two go by the prompts' means.

    Args:
        fitting: as in `SharedBank`, at least two; with those of the job, unless two modes are asked for.
    """


@dataclass(frozen=True, init=False)
class CarriedBank(SharedBank):
    """One for all prompts; the modes are found on a source prompt and transferred to the others.

    Args:
        source: the prompt that the modes are found on; projector and bank are fitted on it too.
        fitting: as in `SharedBank`.
        threshold: where the sides of two modes, or of an axis, part in the projector's output: ``shared``, in the same place for
            all prompts; ``prompt``, for each fitted prompt where the projector tells the shares that the encoder finds among its
            collected images, and for all other prompts in the shared place. More than two modes go by each prompt's mean anyway.

    Raises:
        ValueError: if `source` is blank, `threshold` neither of the two, or as `SharedBank` does.
    """

    source: str
    threshold: str

    def __init__(self, source: str, fitting: Sequence[str] | None = None, threshold: str = SHARED):
        super().__init__(fitting)
        if not THRESHOLD.holds(threshold):
            raise refuse("bank.threshold", THRESHOLD.words, threshold)
        object.__setattr__(self, "threshold", threshold)
        if not isinstance(source, str) or not source.strip():
            raise ValueError(f"`bank.source` must be a text that is not blank, got {source!r}.")
        object.__setattr__(self, "source", source)
