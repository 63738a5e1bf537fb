"""What the model is asked for, and which attributes of the answer are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from selfdebias.config.prompt_texts import PLACE, different_names, different_texts, filled, row_names, with_place


class PromptSource(Protocol):
    """Whatever says which prompt each image is drawn from."""

    def for_images(self, n_images: int) -> list[str]:
        """Return the prompt of each of `n_images` images, by image id."""


@dataclass(frozen=True)
class Prompts:
    """Holds the prompt of a job, in one or more templates, and the attributes that its evaluation reports.

    Args:
        text: The prompt, or what is put into the templates.
        attributes: Names of judge attributes to report, in this order; "gender x tone" reports all pairs of their classes.
            The debiasing itself never sees them.
        templates: Texts with one ``{}`` each, at which `text` is put in. Image ids are split into as many contiguous parts,
            one for each template, whose sizes differ by at most one.

    Raises:
        ValueError: If `text` is blank, `attributes` or `templates` is empty or names one twice, or a template has not
            exactly one ``{}``.

    Example:
        >>> Prompts("an emoji of a person", ["gender", "tone"]).for_images(2)
        ['an emoji of a person', 'an emoji of a person']
        >>> Prompts("a nurse", ["gender"], ["Image of {}", "Photo of {}"]).for_images(3)
        ['Image of a nurse', 'Image of a nurse', 'Photo of a nurse']
    """

    text: str
    attributes: tuple[str, ...]
    templates: tuple[str, ...] = (PLACE,)

    def __init__(self, text: str, attributes: Sequence[str], templates: Sequence[str] = (PLACE,)) -> None:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"`prompts.text` must be a text that is not blank, got {text!r}.")
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "attributes", different_names(attributes))
        object.__setattr__(self, "templates", with_place(templates))

    def for_images(self, n_images: int) -> list[str]:
        """The prompt of each of `n_images` images, by image id.

        Raises:
            ValueError: If there are fewer images than templates.
        """
        texts = filled(self.text, self.templates)
        if n_images < len(texts):
            raise ValueError(f"`n_images` must be at least {len(texts)}, one for each template, got {n_images}.")
        return [texts[i * len(texts) // n_images] for i in range(n_images)]


@dataclass(frozen=True)
class EqualShares:
    """Holds several prompts that each get an equal share of an arm's images.

    Args:
        texts: At least two prompts, or what is put into the templates.
        attributes: As in `Prompts`.
        templates: As in `Prompts`. Within the part of each template the texts have contiguous parts, so that an image has the
            same template as in an arm of one text.

    Raises:
        ValueError: As `Prompts` does, or if there is one text alone.

    Example:
        >>> EqualShares(["a man nurse", "a woman nurse"], ["gender"], ["Image of {}", "Photo of {}"]).for_images(4)
        ['Image of a man nurse', 'Image of a woman nurse', 'Photo of a man nurse', 'Photo of a woman nurse']
    """

    texts: tuple[str, ...]
    attributes: tuple[str, ...]
    templates: tuple[str, ...] = (PLACE,)

    def __init__(self, texts: Sequence[str], attributes: Sequence[str], templates: Sequence[str] = (PLACE,)) -> None:
        object.__setattr__(self, "texts", different_texts("texts", texts))
        if len(texts) < 2:
            raise ValueError(f"`prompts.texts` must be at least two texts, got {list(texts)!r}.")
        object.__setattr__(self, "attributes", different_names(attributes))
        object.__setattr__(self, "templates", with_place(templates))

    def for_images(self, n_images: int) -> list[str]:
        """The prompt of each of `n_images` images, by image id.

        Raises:
            ValueError: If there are fewer images than texts in templates.
        """
        prompts = [template.replace(PLACE, text) for template in self.templates for text in self.texts]
        if n_images < len(prompts):
            raise ValueError(
                f"`n_images` must be at least {len(prompts)}, one for each text in each template, got {n_images}."
            )
        return [prompts[i * len(prompts) // n_images] for i in range(n_images)]


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


@dataclass(frozen=True)
class PromptList:
    """Holds the prompts of a job that has a row for each of them.

    Args:
        subjects: What is asked for, with its article: ``a nurse``, ``an analyst``. Each is a row of the job, with modes of
            its own.
        attributes: As in `Prompts`, the same in all rows.
        templates: As in `Prompts`, the same in all rows.

    Raises:
        ValueError: If `subjects` is empty, or one is blank or there twice, or as `Prompts` does.

    Example:
        >>> rows = PromptList(["a cook", "an artist"], ["gender"], ["an emoji of {}"]).rows()
        >>> {name: row.for_images(1) for name, row in rows.items()}
        {'cook': ['an emoji of a cook'], 'artist': ['an emoji of an artist']}
    """

    subjects: tuple[str, ...]
    attributes: tuple[str, ...]
    templates: tuple[str, ...] = (PLACE,)

    def __init__(self, subjects: Sequence[str], attributes: Sequence[str], templates: Sequence[str] = (PLACE,)) -> None:
        object.__setattr__(self, "subjects", different_texts("subjects", subjects))
        object.__setattr__(self, "attributes", different_names(attributes))
        object.__setattr__(self, "templates", with_place(templates))

    def rows(self) -> dict[str, Prompts]:
        """The prompts of each row, by its name. A subject in one template alone is a plain prompt, as if asked for by itself."""
        if len(self.templates) > 1:
            rows = [Prompts(subject, self.attributes, self.templates) for subject in self.subjects]
        else:
            rows = [Prompts(filled(subject, self.templates)[0], self.attributes) for subject in self.subjects]
        return dict(zip(row_names(self.subjects), rows, strict=True))


def facts_of(prompts: Prompts | NoPrompt) -> dict[str, Any]:
    """What is said of prompts in files, as JSON values; `templates` only where there are some.

    Example:
        >>> facts_of(Prompts("a cat", ["animal"]))
        {'text': 'a cat', 'attributes': ['animal']}
    """
    facts = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(prompts).items()}
    if facts.get("templates") == [PLACE]:
        del facts["templates"]
    return facts
