"""Which options of a configuration name files of this computer, and how a job's folder writes them down."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from selfdebias.config.rules import ConfigError, walk

# Options of paths alone.
FILES = (
    "labelled",
    "folders",
    "reference",
    "modes",
    "weights",
    "folder",
    "path",
    "root",
    "save_dir",
    "negative_prompt_file",
)
MODELS = ("pretrained", "config")  # a path, or a model's id on the hub, owner/name
HERE = ("paths", "logger")  # sections that say where a job runs and who is told of it: no folder chooses them
SHIPPED, LOCAL = "shipped:", "local:"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
SINGLE_FILES = (".safetensors", ".ckpt")
WEIGHTS = ("pretrained", "weights", "folder")  # local weights, which are also named by their hash

_INTERPOLATION = re.compile(r"\$\{")
_WORD = re.compile(r"\w+")


def is_hub_id(name: str) -> bool:
    """Whether a name can be that of a model on the hub.

    Example:
        >>> is_hub_id("openai/clip-vit-base-patch32"), is_hub_id("/models/mine"), is_hub_id("out/model.safetensors")
        (True, False, False)
    """
    return bool(HUB_ID.fullmatch(name)) and not name.endswith(SINGLE_FILES) and ".." not in name


def names_a_file(path: str) -> bool:
    """Whether an option, by its dotted path, may name a file of this computer.

    Example:
        >>> names_a_file("evaluate.folders.vanilla"), names_a_file("model.pretrained"), names_a_file("prompts.text")
        (True, True, False)
    """
    parts = path.split(".")
    return parts[0] in HERE or any(part in FILES for part in parts) or parts[-1] in MODELS


def local_files(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, value) of each option that names a file of this computer: nothing shipped, no id of the hub.

    Args:
        config: A resolved configuration, or a part of it.
    """
    for path, value in walk(config):
        if path.split(".")[0] in HERE or not names_a_file(path):
            continue
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not _is_shipped(text) and not _on_hub(path, text):
                yield path, text


def check_interpolations(config: Any) -> None:
    """Refuses what would carry the environment, or a path of this computer, into results.

    Args:
        config: The configuration as it was composed, not resolved.

    Raises:
        ConfigError: If an option other than `paths.*` and the paths of local weights reads the environment, or refers to
            one of them.
    """
    for path, value in walk(config):
        parts = path.split(".")
        if parts[0] == "paths" or parts[-1] in (*WEIGHTS, *MODELS):
            continue
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and _INTERPOLATION.search(text):
                _check_words(path, text)


def _check_words(path: str, text: str) -> None:
    inside = set(_WORD.findall(text[text.index("${") :]))
    if "env" in inside:
        raise ConfigError(
            f"`{path}` must not read the environment, got {text!r}: it would stand in every result. ${{oc.env:...}} is for "
            f"paths.* and the paths of local weights alone."
        )
    if inside & {*FILES, *MODELS, *HERE}:
        raise ConfigError(
            f"`{path}` must not refer to a path of this computer, got {text!r}: it would stand in every result."
        )


def _is_shipped(text: str) -> bool:
    return text.startswith(SHIPPED) and text.removeprefix(SHIPPED).isidentifier()


def _on_hub(path: str, text: str) -> bool:
    """Whether a value is a model's id on the hub: only some options may name one, and a folder of the name comes first."""
    return path.split(".")[-1] in MODELS and is_hub_id(text) and not Path(text).exists()
