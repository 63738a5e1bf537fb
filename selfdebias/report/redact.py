"""Keeps secrets out of everything that is written or sent."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from selfdebias.report.places import without_places

HIDDEN = "[hidden]"
SECRET_NAME = re.compile(r"(api_?key|access_?key|token(?!iz)|secret|passw|credential|private_?key)", re.IGNORECASE)
ASSIGNMENT = re.compile(r"([\w.\-+~]+)([=:]\s*)(\S+)")
CREDENTIALS_IN_ADDRESS = re.compile(r"(\w+://)[^/\s@]+@")
# Parts of a job's configuration that say what was done; paths, logger and trainer say where.
# Named one by one: what is added to the configuration later stays here until somebody names it.
ALLOWED = (
    "model", "encoder", "projector", "clustering", "bank", "vocabulary", "guidance", "schedule", "prompts", "judge", "metrics",
    "stages", "collect", "discover", "project", "generate", "evaluate", "report",
)  # fmt: skip


def redacted(value: Any) -> Any:
    """A copy of a configuration or text with every secret replaced by `[hidden]`.

    Hidden are the values of keys that are named like a secret, the values of environment variables so named, wherever
    they appear, and user names and passwords in addresses.

    >>> redacted({"model": {"hub_token": "abc", "tokenizer": "words"}, "steps": [25]})
    {'model': {'hub_token': '[hidden]', 'tokenizer': 'words'}, 'steps': [25]}
    >>> redacted("selfdebias +logger.api_key=abc https://me:pass@example.org/x")
    'selfdebias +logger.api_key=[hidden] https://[hidden]@example.org/x'
    """
    if isinstance(value, Mapping):
        return {key: HIDDEN if SECRET_NAME.search(str(key)) else redacted(part) for key, part in value.items()}
    if isinstance(value, str):
        return _redacted_text(value)
    if isinstance(value, Sequence):
        return [redacted(part) for part in value]
    return value


def allowed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a job's resolved configuration that may leave the machine: redacted, with paths cut to their last part.

    >>> allowed({"paths": {"root": "/home/me"}, "evaluate": {"seed": 1, "labelled": "/home/me/labels"}})
    {'evaluate': {'seed': 1, 'labelled': 'labels'}}
    """
    return {key: without_places(redacted(config[key]), key) for key in ALLOWED if key in config}


def _redacted_text(text: str) -> str:
    for name, secret in os.environ.items():
        if SECRET_NAME.search(name) and len(secret) >= 8:
            text = text.replace(secret, HIDDEN)
    text = CREDENTIALS_IN_ADDRESS.sub(rf"\1{HIDDEN}@", text)
    return ASSIGNMENT.sub(lambda found: _assignment(*found.groups()), text)


def _assignment(name: str, sign: str, value: str) -> str:
    return f"{name}{sign}{HIDDEN if SECRET_NAME.search(name) else value}"
