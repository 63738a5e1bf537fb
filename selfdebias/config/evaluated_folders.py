"""The folders of images that `evaluate.folders` names: how they are called, and what goes with them. Nothing is opened here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.config.rules import refuse

NAME = re.compile(r"\w[\w.-]*")
TAKEN = ("reference", "collected", "labelled")  # what has files, or a list of skipped ones, beside the arms
DEFAULTS = {"modes": None, "drawn_together": 1}  # what goes with folders alone


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
                f"folders whose names are letters, digits, _, - and ., and not one of {', '.join(TAKEN)} ({_way_out()})"
            )
            raise refuse("evaluate.folders", words, name)
    _refuse_same(folders, evaluate.get("reference"))
    return {**config, "evaluate": {**evaluate, "folders": dict(folders)}}


def _refuse_same(folders: Mapping[str, str], reference: str | None) -> None:
    """Refuses to hold a folder against itself."""
    places = {name: os.path.realpath(path) for name, path in folders.items()}
    for name, path in places.items():
        if list(places.values()).count(path) > 1:
            raise refuse("evaluate.folders", "different folders, each of them once", folders[name])
        if reference is not None and os.path.realpath(reference) == path:
            raise refuse("evaluate.reference", f"other images than those of the arm {name}", reference)


def drawn_or_not(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, without the model where nothing is drawn with it."""
    return {group: part for group, part in config.items() if group != "model" or not config["evaluate"]["folders"]}


def _named(folders: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for path in folders:
        name = Path(os.path.abspath(path)).name
        if name in named:
            words = f"folders with different names ({_way_out()})"
            raise refuse("evaluate.folders", words, [named[name], path])
        named[name] = path
    return named


def _way_out() -> str:
    return "name them: evaluate.folders={vanilla: <folder>, other: <folder>}"
