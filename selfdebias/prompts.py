"""What the model is asked for, and which attributes of the answer are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class PromptSource(Protocol):
    """Whatever says which prompt each image is drawn from."""

    def for_images(self, n_images: int) -> list[str]:
        """Return the prompt of each of `n_images` images, by image id."""


@dataclass(frozen=True)
class Prompts:
    """Holds the prompt of a job and the attributes that its evaluation reports.

    Args:
        text: The prompt that each image of the job is drawn from.
        attributes: Names of judge attributes to report, in this order. The debiasing itself never sees them.

    Raises:
        ValueError: If `text` is blank, or `attributes` is empty or names one attribute twice.

    Example:
        >>> Prompts("an emoji of a person", ["gender", "tone"]).for_images(2)
        ['an emoji of a person', 'an emoji of a person']
    """

    text: str
    attributes: tuple[str, ...]

    def __init__(self, text: str, attributes: Sequence[str]) -> None:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"`prompts.text` must be a text that is not blank, got {text!r}.")
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "attributes", different_names(attributes))

    def for_images(self, n_images: int) -> list[str]:
        """The prompt of each of `n_images` images, by image id."""
        return [self.text] * n_images


@dataclass(frozen=True)
class NoPrompt:
    """Stands where a model is asked for nothing; a text-to-image model then gets the empty prompt.

    Args:
        attributes: As in `Prompts`.
        text: Always empty.

    Raises:
        ValueError: If `text` is not empty, or `attributes` is empty or names one attribute twice.

    Example:
        >>> NoPrompt(["gender"]).for_images(2)
        ['', '']
    """

    attributes: tuple[str, ...]
    text: str = ""

    def __init__(self, attributes: Sequence[str], text: str = "") -> None:
        if text:
            raise ValueError(f"`prompts.text` must be empty for prompts=unconditional, got {text!r}.")
        object.__setattr__(self, "text", "")
        object.__setattr__(self, "attributes", different_names(attributes))

    def for_images(self, n_images: int) -> list[str]:
        """The empty prompt of each of `n_images` images."""
        return [""] * n_images


def different_names(attributes: Sequence[str]) -> tuple[str, ...]:
    """The attributes as a tuple.

    Raises:
        ValueError: If there is none, or one is named twice.
    """
    names = tuple(attributes)
    if isinstance(attributes, str) or not names or len(set(names)) != len(names):
        raise ValueError(f"`prompts.attributes` must be a list of different names, got {attributes!r}.")
    return names
