"""Configurations in the form in which they are compared, and what the key of a stage says of them.

What means the same is written in one way: numbers, the text of a negative prompt, the names of folders (none is opened here).
Options that came later, and classes and weights that were renamed, leave a key as it was, so that older stages are found again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from selfdebias.config.rules import mapped, refuse, walk, whole
from selfdebias.config.targets import OLD_NAMES

NEGATIVE_PROMPT = "negative_prompt_file"
LONGEST = 10**5  # bytes of a negative prompt: some are several hundred words long
NAME = re.compile(r"\w[\w.-]*")
TAKEN = ("reference", "collected", "labelled")  # what has files, or a list of skipped ones, beside the arms
DEFAULTS = {"modes": None, "drawn_together": 1}  # what goes with folders alone
_WAY_OUT = "name them: evaluate.folders={vanilla: <folder>, other: <folder>}"
# Where a job runs and what watches it changes none of its results.
NOT_IN_KEY = frozenset({"device", "offload"})
OF_TRAINER = NOT_IN_KEY | {  # names which another part may have for something else
    "accelerator", "devices", "num_nodes", "strategy", "use_distributed_sampler", "enable_progress_bar", "logger",
}  # fmt: skip


def with_floats(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with each whole number as a float where the default is one, so that 12 and 12.0 have one key.

    Example:
        >>> with_floats({"guidance": {"strength": 12, "inner_steps": 3}}, {"guidance": {"strength": 6.0, "inner_steps": 1}})
        {'guidance': {'strength': 12.0, 'inner_steps': 3}}
    """
    floats = {path for path, value in walk(defaults) if isinstance(value, float)}
    return dict(mapped(config, lambda path, value: float(value) if path in floats and whole(value) else value))


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


def digest(obj: Any) -> str:
    """The first 16 hexadecimal digits of the sha256 of `obj` as canonical JSON.

    Raises:
        ValueError: If a number in it is not finite.

    Example:
        >>> digest({"b": 1, "a": [2]}) == digest({"a": [2], "b": 1})
        True
        >>> digest({"a": 1}) == digest({"a": 1.5})
        False
    """
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kept_in_key(config: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """What a key says of a configuration at dotted paths, such as `prompts.text`.

    An option that is not stated is left out, so that a new option leaves the keys of old jobs alone.

    Example:
        >>> kept_in_key({"model": {"_target_": "M", "steps": 50, "device": "cuda"}, "prompts": {"text": "a cat"}}, ["model"])
        {'model': {'_target_': 'M', 'steps': 50}}
    """
    kept = {}
    for path in paths:
        group, _, option = path.partition(".")
        if not option or option in config[group]:
            kept[path] = as_keyed(path, config[group][option] if option else config[group])
    return kept


def _sharp(guidance: Mapping[str, Any]) -> bool:
    """Whether a guidance counts images at its own temperature, as it did before `counted_at`."""
    tau = guidance.get("temperature")
    return not isinstance(tau, int | float) or tau <= guidance["counted_at"]


_PROJECTOR = {
    "layers": 2, "activation": "silu", "time": "sinusoidal", "standardised": True, "schedule": "one_cycle",
    "relative_to": "activation", "resolution": 8,
}  # fmt: skip


def _as_before(name: str, projector: Mapping[str, Any]) -> bool:
    return bool(projector[name] == _PROJECTOR[name])


# By group and option: what says of the group's values that the option leaves all as it was.
LATER: Mapping[str, Mapping[str, Callable[[Mapping[str, Any]], bool]]] = {
    "projector": {name: partial(_as_before, name) for name in _PROJECTOR},
    "guidance": {"counted_at": _sharp, "axes": lambda guidance: guidance["axes"] is None},
}

# Weights that have another name now. A key has their hash too, so that another model under the old name has another key.
RENAMED: Mapping[str, str] = {
    "shipped:emoji_clip_informed": "shipped:emoji_clip",
    **OLD_NAMES,
}


def as_keyed(group: str, part: Any, renamed: Mapping[str, str] = RENAMED) -> Any:
    """A group's values, at any depth, as a key has them.

    Args:
        group: The group.
        part: Its values, or one of them.
        renamed: Old names by new ones.

    Returns:
        A copy without what says where a job runs, without later options that change nothing, and under old names.

    Example:
        >>> as_keyed("encoder", {"_target_": "ClipEncoder", "pretrained": "shipped:emoji_clip_informed", "device": "cuda"})
        {'_target_': 'ClipEncoder', 'pretrained': 'shipped:emoji_clip'}
        >>> as_keyed("guidance", {"of": {"temperature": 0.1, "counted_at": 0.3}})
        {'of': {'temperature': 0.1}}
        >>> as_keyed("guidance", {"temperature": 8.0, "counted_at": 0.3})
        {'temperature': 8.0, 'counted_at': 0.3}
    """
    if isinstance(part, Mapping):
        own = OF_TRAINER if group == "trainer" else NOT_IN_KEY
        later = {name for name, same in LATER.get(group, {}).items() if name in part and same(part)}
        left_out = later | (own if "_target_" in part else set())  # elsewhere such a name is the user's own
        return {name: as_keyed(group, value, renamed) for name, value in part.items() if name not in left_out}
    if isinstance(part, list):
        return [as_keyed(group, value, renamed) for value in part]
    return renamed.get(part, part) if isinstance(part, str) else part
