"""What the model is asked for, and which attributes of the answer are reported."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

PLACE = "{}"
CROSS = " x "  # between the attributes of an intersection
LONGEST_NAME = 48  # signs; a file name of four-byte signs must stay below 255 bytes
_ARTICLE = re.compile(r"^(a|an|the)\s+", re.IGNORECASE)


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
    attributes: Sequence[str]
    templates: Sequence[str] = (PLACE,)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise ValueError(f"`prompts.text` must be a text that is not blank, got {self.text!r}.")
        object.__setattr__(self, "attributes", different_names(self.attributes))
        object.__setattr__(self, "templates", with_place(self.templates))

    def for_images(self, n_images: int) -> list[str]:
        """The prompt of each of `n_images` images, by image id.

        Raises:
            ValueError: If there are fewer images than templates.
        """
        return _shared_out(filled(self.text, self.templates), n_images, "template")


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

    texts: Sequence[str]
    attributes: Sequence[str]
    templates: Sequence[str] = (PLACE,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", different_texts("texts", self.texts))
        if len(self.texts) < 2:
            raise ValueError(f"`prompts.texts` must be at least two texts, got {list(self.texts)!r}.")
        object.__setattr__(self, "attributes", different_names(self.attributes))
        object.__setattr__(self, "templates", with_place(self.templates))

    def for_images(self, n_images: int) -> list[str]:
        """The prompt of each of `n_images` images, by image id.

        Raises:
            ValueError: If there are fewer images than texts in templates.
        """
        prompts = [template.replace(PLACE, text) for template in self.templates for text in self.texts]
        return _shared_out(prompts, n_images, "text in each template")


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

    attributes: Sequence[str]
    text: str = ""

    def __post_init__(self) -> None:
        if self.text != "":
            raise ValueError(f"`prompts.text` must be empty for prompts=unconditional, got {self.text!r}.")
        object.__setattr__(self, "attributes", different_names(self.attributes))

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

    subjects: Sequence[str]
    attributes: Sequence[str]
    templates: Sequence[str] = (PLACE,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "subjects", different_texts("subjects", self.subjects))
        object.__setattr__(self, "attributes", different_names(self.attributes))
        object.__setattr__(self, "templates", with_place(self.templates))

    def rows(self) -> dict[str, Prompts]:
        """The prompts of each row, by its name. A subject in one template alone is a plain prompt, as if asked for by itself."""
        if len(self.templates) > 1:
            rows = [Prompts(subject, self.attributes, self.templates) for subject in self.subjects]
        else:
            rows = [Prompts(filled(subject, self.templates)[0], self.attributes) for subject in self.subjects]
        return dict(zip(row_names(self.subjects), rows, strict=True))


def _shared_out(prompts: Sequence[str], n_images: int, each: str) -> list[str]:
    """The prompt of each image: contiguous parts, one for each prompt, whose sizes differ by at most one."""
    if n_images < len(prompts):
        raise ValueError(f"`n_images` must be at least {len(prompts)}, one for each {each}, got {n_images}.")
    return [prompts[i * len(prompts) // n_images] for i in range(n_images)]


def filled(text: str, templates: Sequence[str]) -> list[str]:
    """The text in each template. Other braces than ``{}`` are left as they are.

    Example:
        >>> filled("a nurse", ["Image of {}", "{} {smiling}"])
        ['Image of a nurse', 'a nurse {smiling}']
    """
    return [template.replace(PLACE, text) for template in templates]


def row_names(subjects: Sequence[str]) -> list[str]:
    """A name for each subject that can be a file's: lower case, no article, hyphens for all but letters and digits; distinct.

    Example:
        >>> row_names(["a construction worker", "an artist", "The artist", "C++/../x", "!"])
        ['construction-worker', 'artist', 'artist-2', 'c-x', 'prompt']
    """
    names: list[str] = []
    for subject in subjects:
        text = unicodedata.normalize("NFKC", _ARTICLE.sub("", subject.strip())).casefold()
        name = re.sub(r"[\W_]+", "-", text)[:LONGEST_NAME].strip("-") or "prompt"
        count, first = 1, name
        while name in names:
            count += 1
            name = f"{first}-{count}"
        names.append(name)
    return names


def different_texts(name: str, texts: Sequence[str], group: str = "prompts") -> tuple[str, ...]:
    """The texts as a tuple.

    Args:
        name: The option that holds them, for messages.
        texts: Texts that are not blank; two that differ in case or spaces alone count as the same.
        group: The group of that option, for messages.

    Raises:
        ValueError: If there is none, one is blank, or one is there twice.
    """
    option = f"`{group}.{name}` must be a list of different texts that are not blank"
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not texts:
        raise ValueError(f"{option}, got {texts!r}.")
    seen: set[str] = set()
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{option}, got {text!r} in it.")
        same = " ".join(text.split()).casefold()
        if same in seen:
            raise ValueError(f"{option}, got {text!r} twice.")
        seen.add(same)
    return tuple(texts)


def with_place(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates as a tuple.

    Raises:
        ValueError: As `different_texts` does, or if one has not exactly one ``{}``.
    """
    for template in different_texts("templates", templates):
        if template.count(PLACE) != 1:
            raise ValueError(
                f"`prompts.templates` must be texts with {PLACE} once, where the subject is put in, got {template!r}."
            )
    return tuple(templates)


def different_names(attributes: Sequence[str]) -> tuple[str, ...]:
    """The attributes as a tuple.

    Raises:
        ValueError: If there is none, or one is named twice, in the list or in an intersection.
    """
    names = tuple(attributes)
    if isinstance(attributes, str) or not names or len(set(names)) != len(names):
        raise ValueError(f"`prompts.attributes` must be a list of different names, got {attributes!r}.")
    for name in names:
        parts = str(name).split(CROSS)
        if len(set(parts)) != len(parts):
            raise ValueError(f"`prompts.attributes` must be intersections of different attributes, got {name!r}.")
    return names
