"""A configuration as a job's folder holds it: what was done, without where on this computer it was done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.config.local_paths import HERE, LOCAL, WEIGHTS, local_files
from selfdebias.storage.atomic import hash_file
from selfdebias.storage.weights.folders import CONFIGS, PICKLES, TENSORS, hash_files


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as a job's folder holds it: what was done, without where it was done.

    `HERE` is left out; a local file is `local:<its last part>`, weights with `@` and the first digits of their sha256.

    Args:
        config: A resolved configuration.
    """
    files = dict(local_files(config))
    return {key: _portable(item, key, files) for key, item in config.items() if key not in HERE}


def _portable(value: Any, path: str, files: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _portable(item, f"{path}.{key}", files) for key, item in value.items()}
    if path not in files:
        return value
    return [_named(path, text) for text in value] if isinstance(value, list) else _named(path, value)


def _named(path: str, text: str) -> str:
    """The name of a local file that stands in a folder; one that is a name already stays."""
    if text.startswith(LOCAL):
        return text
    place = Path(text)
    name = LOCAL + (place.absolute().name or "root")
    return f"{name}@{_hash(place)[:12]}" if path.split(".")[-1] in WEIGHTS and place.exists() else name


def _hash(place: Path) -> str:
    return hash_file(place) if place.is_file() else hash_files(place, (*TENSORS, *CONFIGS, *PICKLES))
