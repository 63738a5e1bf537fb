"""Cuts paths of this computer down to their last part, in what is sent elsewhere. Names of hubs stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATHS = ("labelled", "folders", "reference", "modes", "weights", "folder")  # options that hold paths alone
NAMES = (
    "pretrained",
    "config",
    "path",
    "encoder_id",
    "model",
    "encoder",
)  # a path, or a name, perhaps with @fingerprint
TEXTS = ("text", "texts", "subjects", "templates", "attributes", "negative_prompt", "reason")  # that hold words
_FAR = re.compile(r"(/|~|\.{1,2}[/\\]|[A-Za-z]:[\\/]|\\\\|file:)")


def without_places(value: Any, option: str = "") -> Any:
    """A copy of a part of the configuration in which each path is its last part.

    Args:
        value: A value, a list of values, or a dictionary of options.
        option: The option that holds it.

    >>> without_places({"evaluate": {"labelled": "data/of me/labels", "folders": {"peer": "/home/me/out/peer/"}}})
    {'evaluate': {'labelled': 'labels', 'folders': {'peer': 'peer'}}}
    >>> without_places({"pretrained": "openai/clip-vit-base-patch32", "prompts": {"text": "/imagine a cat"}})
    {'pretrained': 'openai/clip-vit-base-patch32', 'prompts': {'text': '/imagine a cat'}}
    """
    if isinstance(value, Mapping):
        return {key: without_places(item, option if option in PATHS else str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [without_places(item, option) for item in value]
    return _last(value) if isinstance(value, str) and _is_place(value, option) else value


def _is_place(text: str, option: str) -> bool:
    if option in TEXTS:
        return False
    return option in PATHS or bool(_FAR.match(text)) or (option in NAMES and Path(text.partition("@")[0]).exists())


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
