"""The command line in Hydra's grammar: what it says of keys and groups, before anything is composed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from selfdebias.config.rules import ConfigError

HYDRA = ("hydra.", "hydra/")  # keys of Hydra's own settings
SETTINGS = (
    "hydra/launcher",
    "hydra.launcher.",
    "hydra.job.",
    "hydra.verbose",
)  # those that a user may set, for a sweep
MANY = 16  # options that a message names all of


def parse(overrides: Sequence[str], sweep: bool = False) -> list[Override]:
    """Parses overrides.

    Args:
        overrides: Those of the command line.
        sweep: Whether a key may have several values.

    Raises:
        ConfigError: If one of them is no override, or has several values or sets Hydra itself and may not.
    """
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        if text.startswith("-"):
            raise ConfigError(f"`{text}` is not an option. See `selfdebias --help`.")
        try:
            override = parser.parse_override(text)
        except HydraException:
            override = None
        if override is None or not override.key_or_group:
            raise ConfigError(f"`{text}` must be <key>=<value> in Hydra's grammar; quote a value with spaces.")
        if not sweep and override.key_or_group.startswith(HYDRA):  # which a single job would ignore
            check_setting(override.key_or_group)
            raise ConfigError(f"`{override.key_or_group}` is for sweeps: start one with -m.")
        if override.is_sweep_override() and not sweep:
            raise ConfigError(f"`{text}` names several values: start a sweep with -m, or put a text in quotes.")
        parsed.append(override)
    return parsed


def check_setting(key: str) -> None:
    """Refuses a setting of Hydra's that no sweep takes.

    Raises:
        ConfigError: If it is none of `SETTINGS`.
    """
    if not key.startswith(SETTINGS):
        raise ConfigError(f"`{key}` cannot be set here; of Hydra's own settings hydra/launcher and hydra.job can.")


def refuse_doubles(overrides: Sequence[str]) -> None:
    """Refuses a command line that gives a key twice: Hydra would take the later value without a word.

    Raises:
        ConfigError: With the first of them.
    """
    seen: dict[str, str] = {}
    for override in parse(overrides, sweep=True):
        key = override.get_key_element().lstrip("+~")
        if key in seen:
            raise ConfigError(f"`{key}` must be given once, got `{seen[key]}` and `{override.input_line}`.")
        seen[key] = str(override.input_line)


def choices(parsed: Sequence[Override], folder: Path) -> list[str]:
    """The overrides that choose an option of a group."""
    return [o.input_line for o in parsed if is_group(o, folder) and o.input_line]


def is_group(override: Override, folder: Path) -> bool:
    """Whether an override is one of a group, by its folder among those of the configuration."""
    name = override.key_or_group
    return "." not in name and (folder / name).is_dir()


def options_of(group: Path) -> list[str]:
    """The options of a group by its folder: `paper`, and after these `ablation/strength`, of a folder in it."""
    options = [file.relative_to(group).with_suffix("").as_posix() for file in group.rglob("*.yaml")]
    return sorted(options, key=lambda option: ("/" in option, option))


def options_with(folder: Path, key: str) -> list[str]:
    """Return the options of a key's group that have it, of their own or from the option that they build on."""
    group, _, name = key.partition(".")
    files = sorted((folder / group).glob("*.yaml")) if name and "." not in name else []
    return [file.stem for file in files if _has(file, name)]


def _has(file: Path, name: str) -> bool:
    """Whether an option has a key, of its own or from an option that it builds on."""
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    bases = [it for it in content.get("defaults", ()) if isinstance(it, str) and it != "_self_" and "@" not in it]
    return name in content or any(_has(file.with_name(f"{base}.yaml"), name) for base in bases)


def check_options(parsed: Sequence[Override], folder: Path) -> None:
    """Refuses `group=option` where there is no such file; Hydra's own message takes seven lines. Experiments go in lists too."""
    for override in parsed:
        if not is_group(override, folder):
            continue
        group, options, chosen = override.key_or_group, options_of(folder / override.key_or_group), override.value()
        if (override.is_add() or override.is_force_add()) and override.package is None:
            raise ConfigError(f"`{override.input_line}` must be without a plus: {group}={chosen}.")
        if "none" in options and (override.is_delete() or chosen is None):
            raise ConfigError(f"`{group}` must be one of {_in_words(options, '')}, got null: take {group}=none.")
        several = chosen if isinstance(chosen, list) and group == "experiment" else [chosen]
        for option in several if not override.is_delete() else ():  # of another group, one is taken
            if option not in options:
                raise ConfigError(f"`{group}` must be one of {_in_words(options, str(option))}, got {option}.")


def _in_words(options: Sequence[str], given: str) -> str:
    """All options, or where they are many how many there are, and those that are most like the given one.

    Example:
        >>> _in_words(["flattened", "pooled"], "pool")
        'flattened, pooled'
        >>> _in_words([f"ablation/{name}" for name in "abcdefghijklmnopq"] + ["paper/faces"], "paper/facez")
        '18 options (near: paper/faces; `selfdebias --help` lists all)'
    """
    if len(options) <= MANY:
        return ", ".join(options)
    near = difflib.get_close_matches(given, options, n=3, cutoff=0.75)
    hint = f"near: {', '.join(near)}; " if near else ""
    return f"{len(options)} options ({hint}`selfdebias --help` lists all)"


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job: all pairs of values; of a key that is there twice the later value, in the former's place."""
    values: dict[str, list[str]] = {}
    for override in parse(overrides, sweep=True):
        key = override.get_key_element()
        values[key] = [str(override.input_line)]
        if override.is_sweep_override():
            try:
                values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            except HydraException:
                raise ConfigError(f"`{key}` must name its values in a sweep, as in {key}=a,b.") from None
    return [list(job) for job in product(*values.values())]


def refuse_sweep(parsed: Sequence[Override], swept: Mapping[str, str]) -> None:
    """Refuses an experiment that is a sweep, unless each key that it sweeps over has one value."""
    given = {override.get_key_element().lstrip("+") for override in parsed}
    left = [key for key in swept if key.lstrip("+") not in given]
    if left:
        name = next((str(override.value()) for override in parsed if override.key_or_group == "experiment"), "")
        raise ConfigError(f"`experiment` {name} is a sweep over {', '.join(left)}: start it with -m.")
