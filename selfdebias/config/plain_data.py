"""Reads what a stranger may have written, a job's folder or a saved debiaser, as plain data: nothing in it is composed or run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from selfdebias.config.rules import ConfigError, nodes

LARGEST = 4 * 2**20  # bytes of a configuration
DEEPEST = 32  # dictionaries and lists within each other
FOR_HYDRA = ("hydra", "defaults")  # keys by which Hydra composes


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, a few of which can stand for more values than fit into memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias (*name)")
        return super().compose_node(parent, index)


def read_plain_yaml(file: Path) -> dict[str, Any]:
    """Reads a dictionary from a file of YAML, and refuses what is no plain data.

    Raises:
        ConfigError: With one line that names the file and what is wrong with it.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise ConfigError(f"{file} must be a configuration of at most {LARGEST} bytes.")
        content = yaml.load(file.read_text(encoding="utf-8"), _PlainLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{file} must be a dictionary in YAML, plain data: {reason}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{file} must be a dictionary in YAML, got a {type(content).__name__}.")
    check_plain(content, file)
    return content


def check_plain(content: Mapping[str, Any], file: Path) -> None:
    """Refuses interpolations, and keys by which something is composed.

    Args:
        content: What was read from the file.
        file: For the message.

    Raises:
        ConfigError: With the first of them.
    """
    for key in FOR_HYDRA:
        if key in content:
            raise ConfigError(
                f"{file} must be plain data, got the key `{key}`: a folder does not say how it is composed."
            )
    for path, value in nodes(content):
        if path.count(".") >= DEEPEST:
            raise ConfigError(f"{file} must be plain data of at most {DEEPEST} levels, got more at `{path}`.")
        for key in value if isinstance(value, Mapping) else ():
            if not isinstance(key, str | int) or "${" in str(key):
                raise ConfigError(f"{file} must be plain data, got the key {key!r} at `{path}`.")
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "${" in text:
                raise ConfigError(f"{file} must be plain data, got an interpolation at `{path}`: {text!r}.")
