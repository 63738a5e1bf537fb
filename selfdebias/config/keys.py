"""What the key of a stage says of a configuration, and its hash.

Options that came later, and classes and weights that were renamed, leave a key as it was, so that older stages are found again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from selfdebias.config.targets import OLD_NAMES

# Where a job runs and what watches it changes none of its results.
NOT_IN_KEY = frozenset(
    {"accelerator", "devices", "device", "num_nodes", "strategy", "use_distributed_sampler", "offload"}
    | {"enable_progress_bar", "logger"}
)


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
        >>> kept_in_key({"model": {"steps": 50, "device": "cuda"}, "prompts": {"text": "a cat"}}, ["model", "prompts.text"])
        {'model': {'steps': 50}, 'prompts.text': 'a cat'}
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
    """A group's values, at any depth, as a key has them.

    Args:
        group: The group.
        part: Its values, or one of them.

    Returns:
        A copy without what says where a job runs, without later options that change nothing, and under old names.

    Example:
        >>> as_keyed("encoder", {"pretrained": "shipped:emoji_clip_informed", "device": "cuda"})
        {'pretrained': 'shipped:emoji_clip'}
        >>> as_keyed("guidance", {"of": {"temperature": 0.1, "counted_at": 0.3}})
        {'of': {'temperature': 0.1}}
        >>> as_keyed("guidance", {"temperature": 8.0, "counted_at": 0.3})
        {'temperature': 8.0, 'counted_at': 0.3}
    """
    if isinstance(part, Mapping):
        later = {name for name, same in LATER.get(group, {}).items() if name in part and same(part)}
        return {name: as_keyed(group, value) for name, value in part.items() if name not in NOT_IN_KEY | later}
    if isinstance(part, list):
        return [as_keyed(group, value) for value in part]
    return RENAMED.get(part, part) if isinstance(part, str) else part
