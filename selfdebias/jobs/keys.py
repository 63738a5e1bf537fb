"""What the key of a stage is made of. A key keeps what it said before options came later and weights were renamed, so that older
stages are found again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from selfdebias.config.compose import without_devices
from selfdebias.config.targets import OLD_NAMES


def kept_in_key(config: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Return what a key says of a configuration at dotted paths, such as `prompts.text`.

    An option that is not stated is left out, so that a new option leaves the keys of old jobs alone.

    Example:
        >>> kept_in_key({"model": {"steps": 50, "device": "cuda"}, "prompts": {"text": "a cat"}}, ["model", "prompts.text"])
        {'model': {'steps': 50}, 'prompts.text': 'a cat'}
    """
    kept = {}
    for path in paths:
        group, _, option = path.partition(".")
        if not option or option in config[group]:
            kept[path] = as_keyed(path, without_devices(config[group][option] if option else config[group]))
    return kept


def _sharp(guidance: Mapping[str, Any]) -> bool:
    """Whether a guidance counts images at its own temperature, as it did before `counted_at`."""
    tau = guidance.get("temperature")
    return not isinstance(tau, int | float) or tau <= guidance["counted_at"]


_PROJECTOR = {"layers": 2, "activation": "silu", "time": "sinusoidal", "standardised": True, "schedule": "one_cycle"}


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


def as_keyed(group: str, part: Any) -> Any:
    """Return a group's values as a key has them: without later options that change nothing, and under old names.

    Example:
        >>> as_keyed("encoder", {"pretrained": "shipped:emoji_clip_informed"})
        {'pretrained': 'shipped:emoji_clip'}
    """
    return _renamed(without_later(group, part))


def _renamed(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {name: _renamed(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_renamed(value) for value in part]
    return RENAMED.get(part, part) if isinstance(part, str) else part


def without_later(group: str, part: Any) -> Any:
    """Return a group's values, at any depth, without the later options that leave all as it was.

    Example:
        >>> without_later("guidance", {"temperature": 0.1, "counted_at": 0.3})
        {'temperature': 0.1}
        >>> without_later("guidance", {"temperature": 8.0, "counted_at": 0.3})
        {'temperature': 8.0, 'counted_at': 0.3}
    """
    if not isinstance(part, Mapping) or group not in LATER:
        return part
    dropped = {name for name, same in LATER[group].items() if name in part and same(part)}
    return {name: without_later(group, value) for name, value in part.items() if name not in dropped}
