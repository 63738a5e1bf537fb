"""What is secret, and what stands in its place in each file that a job writes and in all that is sent to W&B.

Secret are the values of environment variables that are named like a secret, the values of options that are, and user names and
passwords in addresses. Everything is replaced before it is hashed or written.
"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"
SHORTEST = 8  # characters of a value that is searched for in texts; shorter ones are words
SECRET_NAME = re.compile(
    r"api_?key|access_?key|private_?key|token(?!iz)|secret|passw|passphrase|credential|webhook"
    r"|(^|_)(key|pass|pat|dsn|cookie)$"
    r"|(database|db|redis|mongo\w*|postgres\w*|mysql|mariadb|amqp|broker|celery|sqlalchemy)_(url|uri)$",
    re.IGNORECASE,
)
_NAME = re.compile(r"([\w.\-+~]+)[=:]\s*")
_VALUE = re.compile(r""""[^"]*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^\s{}\[\]]*""")
_CREDENTIALS_IN_ADDRESS = re.compile(r"(\w+://)[^/\s@\"'<>]+@")
_MARKDOWN = re.compile(r"([\\`*_|<>])")


def hidden_text(text: str) -> str:
    """A text without secrets, also where they stand as HTML, JSON or Markdown write them.

    Example:
        >>> hidden_text("from https://me:word@example.org/x")
        'from https://[hidden]@example.org/x'
    """
    return _without(text, _secrets(tuple(os.environ.items())))


def hidden(value: Any) -> Any:
    """A copy of a nested value with `hidden_text` of each text in it, keys of dictionaries included.

    Example:
        >>> hidden({"https://me:word@example.org": [1, "https://me:word@example.org"]})
        {'https://[hidden]@example.org': [1, 'https://[hidden]@example.org']}
    """
    return _copied(value, _secrets(tuple(os.environ.items())))


@lru_cache(maxsize=1)
def _secrets(environment: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The secrets of an environment that are long enough to be searched for, in all forms, the longest first."""
    values = {value for name, value in environment if len(value) >= SHORTEST and SECRET_NAME.search(name)}
    forms = {form for it in values for form in (it, html.escape(it), json.dumps(it)[1:-1], _MARKDOWN.sub(r"\\\1", it))}
    return tuple(sorted(forms, key=len, reverse=True))


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _CREDENTIALS_IN_ADDRESS.sub(rf"\1{HIDDEN}@", text) if "://" in text else text


def _copied(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        return _without(value, secrets)
    if isinstance(value, Mapping):
        return {_copied(key, secrets): _copied(item, secrets) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_copied(item, secrets) for item in value]
    return value


def redacted(value: Any) -> Any:
    """A copy of a configuration without secrets: as `hidden`, and without the values of options that are named like one.

    Example:
        >>> redacted({"model": {"hub_token": "abc", "tokenizer": "words"}, "steps": [25]})
        {'model': {'hub_token': '[hidden]', 'tokenizer': 'words'}, 'steps': [25]}
    """
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if SECRET_NAME.search(str(key)) and item is not None else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return hidden(value)


def redacted_command(text: str) -> str:
    """A command line or an error message without secrets, and without the values that it gives to options named like one.

    Example:
        >>> redacted_command("selfdebias +logger.api_key=abc https://me:word@example.org/x")
        'selfdebias +logger.api_key=[hidden] https://[hidden]@example.org/x'
    """
    text, kept, at = hidden_text(text), "", 0
    for found in _NAME.finditer(text):
        if found.start() >= at and SECRET_NAME.search(found[1]) and (value := _VALUE.match(text, found.end())):
            kept, at = f"{kept}{text[at : found.end()]}{HIDDEN}", value.end()
    return kept + text[at:]


def redacted_word(word: str) -> str:
    """An override without secrets; of an option named like one all of its value goes.

    Example:
        >>> redacted_word("+a.env={API_KEY:abc}"), redacted_word("b.password=two words")
        ('+a.env={API_KEY:[hidden]}', 'b.password=[hidden]')
    """
    key, is_set, _ = word.partition("=")
    return f"{key}={HIDDEN}" if is_set and SECRET_NAME.search(key) else redacted_command(word)


def redacted_words(words: Sequence[str]) -> str:
    """The words of a command line as one could type them, each as `redacted_word` has it."""
    return shlex.join(map(redacted_word, words))
