"""What a checked configuration is completed with: the text of a negative prompt, the names of folders, and floats.

No folder is opened here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.config.rules import refuse, whole

NEGATIVE_PROMPT = "negative_prompt_file"
LONGEST = 10**5  # bytes of a negative prompt: some are several hundred words long
NAME = re.compile(r"\w[\w.-]*")
TAKEN = ("reference", "collected", "labelled")  # what has files, or a list of skipped ones, beside the arms
DEFAULTS = {"modes": None, "drawn_together": 1}  # what goes with folders alone
_WAY_OUT = "name them: evaluate.folders={vanilla: <folder>, other: <folder>}"


def with_floats(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with each whole number as a float where the default is one, so that 12 and 12.0 have one key.

    Example:
        >>> with_floats({"guidance": {"strength": 12, "inner_steps": 3}}, {"guidance": {"strength": 6.0, "inner_steps": 1}})
        {'guidance': {'strength': 12.0, 'inner_steps': 3}}
    """
    return {key: _with_float(value, defaults.get(key)) for key, value in config.items()}


def _with_float(value: Any, default: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(default, Mapping):
        return with_floats(value, default)
    return float(value) if isinstance(default, float) and whole(value) else value


def with_negative_prompt(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the text of `model.negative_prompt_file` as `model.negative_prompt`: the text is what counts.

    Args:
        config: A resolved configuration.

    Raises:
        ConfigError: If the file is not one of text, or both options are given.
    """
    model = dict(config["model"])
    name = model.pop(NEGATIVE_PROMPT, None)
    if name is None:
        return {**config, "model": model}
    if model.get("negative_prompt") is not None:
        raise refuse(f"model.{NEGATIVE_PROMPT}", "null where `model.negative_prompt` is given", name)
    file = Path(str(name))
    try:
        text = file.read_text(encoding="utf-8").strip() if file.is_file() and file.stat().st_size <= LONGEST else ""
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text:
        words = f"a file of text in UTF-8 that is not blank, of at most {LONGEST} bytes"
        raise refuse(f"model.{NEGATIVE_PROMPT}", words, name)
    return {**config, "model": {**model, "negative_prompt": " ".join(text.split())}}


def with_named_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with `evaluate.folders` as a dictionary; a list is named by the last parts of its paths.

    Raises:
        ConfigError: If a name is doubled, taken or cannot be one of a file, or other options do not go with the folders.

    Example:
        >>> config = {"stages": ["evaluate"], "evaluate": {"folders": ["runs/a", "b/"], "modes": None}}
        >>> with_named_folders(config)["evaluate"]["folders"]
        {'a': 'runs/a', 'b': 'b/'}
    """
    evaluate = config["evaluate"]
    folders = evaluate["folders"]
    if folders is None:
        for name, default in DEFAULTS.items():
            if evaluate[name] != default:
                shown = "null" if default is None else default
                raise refuse(f"evaluate.{name}", f"{shown} without `evaluate.folders`", evaluate[name])
        return dict(config)
    if config["stages"] != ["evaluate"]:
        words = "[evaluate] where `evaluate.folders` says what to evaluate (add stages=[evaluate])"
        raise refuse("stages", words, config["stages"])
    if isinstance(folders, list):
        folders = _named(folders)
    for name in folders:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in TAKEN:
            words = (
                f"folders whose names are letters, digits, _, - and ., and not one of {', '.join(TAKEN)} ({_WAY_OUT})"
            )
            raise refuse("evaluate.folders", words, name)
    _refuse_same(folders, evaluate.get("reference"))
    return {**config, "evaluate": {**evaluate, "folders": dict(folders)}}


def _named(folders: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for path in folders:
        name = Path(os.path.abspath(path)).name
        if name in named:
            raise refuse("evaluate.folders", f"folders with different names ({_WAY_OUT})", [named[name], path])
        named[name] = path
    return named


def _refuse_same(folders: Mapping[str, str], reference: str | None) -> None:
    """Refuses to hold a folder against itself."""
    places = {name: os.path.realpath(path) for name, path in folders.items()}
    for name, path in places.items():
        if list(places.values()).count(path) > 1:
            raise refuse("evaluate.folders", "different folders, each of them once", folders[name])
        if reference is not None and os.path.realpath(reference) == path:
            raise refuse("evaluate.reference", f"other images than those of the arm {name}", reference)
