"""Texts of prompts: templates that are filled, the names of rows, and the rules that they keep."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

PLACE = "{}"
LONGEST_NAME = 48  # signs; a file name of four-byte signs must stay below 255 bytes
_ARTICLE = re.compile(r"^(a|an|the)\s+", re.IGNORECASE)


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


def different_texts(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    """The texts as a tuple.

    Args:
        name: The option that holds them, for messages.
        texts: Texts that are not blank; two that differ in case or spaces alone count as the same.

    Raises:
        ValueError: If there is none, one is blank, or one is there twice.
    """
    option = f"`prompts.{name}` must be a list of different texts that are not blank"
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
        ValueError: If there is none, or one is named twice.
    """
    names = tuple(attributes)
    if isinstance(attributes, str) or not names or len(set(names)) != len(names):
        raise ValueError(f"`prompts.attributes` must be a list of different names, got {attributes!r}.")
    return names
