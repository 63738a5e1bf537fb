"""Texts of prompts: templates that are filled, the names of rows, and the rules that they keep."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

PLACE = "{}"
CROSS = " x "  # between the attributes of an intersection
LONGEST_NAME = 48  # signs; a file name of four-byte signs must stay below 255 bytes
_ARTICLE = re.compile(r"^(a|an|the)\s+", re.IGNORECASE)
_NOUN = re.compile(r"(?P<phrase>\b(?:a|an|the)\s+(?P<noun>[^\s,.;:][^,.;:]*))", re.IGNORECASE)
_NOUN_AFTER_OF = re.compile(rf"\bof\b.*?{_NOUN.pattern}", re.IGNORECASE)


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


def attribute_texts(text: str, patterns: Sequence[str], generic: str) -> list[str]:
    """The prompt with an attribute stated in each of several ways.

    Args:
        text: A prompt. Its noun is what follows the first article after "of", or the first article where there is no "of", up to
            a comma.
        patterns: At least two different texts, each put in place of article and noun; ``{}`` in it is the noun.
        generic: A noun that is left out at ``{}``.

    Raises:
        ValueError: If the patterns are not so, or the text has no article.

    Example:
        >>> attribute_texts("an emoji of a construction worker", ["a man {}", "a woman {}"], "person")
        ['an emoji of a man construction worker', 'an emoji of a woman construction worker']
        >>> attribute_texts("a photo of a person, raw", ["a young {}", "an old {}"], "")
        ['a photo of a young person, raw', 'a photo of an old person, raw']
        >>> attribute_texts("a person with dark skin", ["a man {}", "a woman {}"], "person")
        ['a man with dark skin', 'a woman with dark skin']
    """
    option = "`guidance.texts` must be at least two different texts"
    if isinstance(patterns, str) or len(set(patterns)) < 2 or len(set(patterns)) < len(patterns):
        raise ValueError(f"{option}, got {patterns!r}.")
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern.strip() or pattern.count(PLACE) > 1:
            raise ValueError(f"{option}, with {PLACE} once at most, got {pattern!r}.")
    found = _NOUN_AFTER_OF.search(text) or _NOUN.search(text)
    if not found:
        raise ValueError(
            f"`prompts.text` must have an article and a noun for guidance=attribute_prompts, such as a nurse, got {text!r}."
        )
    words = found["noun"].split()
    noun = " ".join(words[1:] if words[0].casefold() == generic.casefold() else words)
    before, after = text[: found.start("phrase")], text[found.end("phrase") :]
    return [before + pattern.replace(PLACE, noun).strip() + after for pattern in patterns]
