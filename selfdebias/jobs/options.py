"""Parts that ``conf/`` describes, by their names there, and a guidance with some of its options changed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from selfdebias.config.compose import compose_groups, conf_folder
from selfdebias.config.overrides import options_of
from selfdebias.config.ranges import NAMED
from selfdebias.config.rules import is_number
from selfdebias.config.targets import make
from selfdebias.guidance import Guidance


def default(group: str, option: str) -> Any:
    """Return the part that an option of ``conf/`` composes to."""
    return make(compose_groups([f"{group}={option}"]), group)


def guidance_of(guidance: Guidance | str | None) -> Guidance | None:
    """Return a guidance as it is, and for a name the one that ``conf/guidance/<name>.yaml`` composes to.

    Raises:
        ValueError: if there is none of this name, it makes no edits of its own, such as the random control, or it is no guidance.
    """
    if not isinstance(guidance, Guidance | str | None):
        raise ValueError(f"`guidance` must be a name or a Guidance, got {guidance!r}.")
    if not isinstance(guidance, str):
        return guidance
    options = options_of(conf_folder() / "guidance")
    if guidance not in options or not _edits(guidance):
        known = ", ".join(option for option in options if _edits(option))
        raise ValueError(f"`guidance` must be one of {known}, or an object, got {guidance!r}.")
    made: Guidance = default("guidance", guidance)
    return made


def _edits(option: str) -> bool:
    """Whether an option of guidance makes edits of its own, which then have a size."""
    return not {"strength", "eta"}.isdisjoint(compose_groups([f"guidance={option}"])["guidance"])


def part_of(group: str, given: Any, kind: type) -> Any:
    """Return a part as it is, None too, and for a name the one that ``conf/<group>/<name>.yaml`` composes to.

    Raises:
        ValueError: if there is none of this name, or it is not of its kind.
    """
    if not isinstance(given, str | None | kind):
        raise ValueError(f"`{group}` must be a name or a {kind.__name__}, got {given!r}.")
    if not isinstance(given, str):
        return given
    known = options_of(conf_folder() / group)
    if given not in known:
        raise ValueError(f"`{group}` must be one of {', '.join(known)}, or an object, got {given!r}.")
    return default(group, given)


def with_options(guidance: Guidance, options: Mapping[str, Any]) -> Guidance:
    """Return a guidance with some hyper-parameters changed; itself where there are none.

    Args:
        guidance: with its hyper-parameters as attributes.
        options: by name; None leaves one as it is.

    Raises:
        ValueError: if it has no such hyper-parameter, or refuses a value.
    """
    changed, own = {name: value for name, value in options.items() if value is not None}, vars(guidance)
    for name, value in changed.items():
        if name not in own:
            known = ", ".join(inspect.signature(type(guidance)).parameters)
            raise ValueError(f"`{name}` is no option of {type(guidance).__name__}, which has {known}.")
        _check_kind(name, value, own[name])
    return type(guidance)(**{**own, **changed}) if changed else guidance


def _check_kind(name: str, value: Any, before: Any) -> None:
    """Refuse a value of another kind than the one whose place it takes; a number may give way to a name, and None to anything."""
    if isinstance(before, bool) and not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False, got {value!r}.")
    if isinstance(before, int | float) and not isinstance(before, bool):
        named = NAMED.get(name, ())
        if value not in named if isinstance(value, str) else not is_number(value):
            raise ValueError(f"`{name}` must be {' or '.join(['a number', *named])}, got {value!r}.")
    if isinstance(before, str) and name not in NAMED and not isinstance(value, str):
        raise ValueError(f"`{name}` must be a text, got {value!r}.")
