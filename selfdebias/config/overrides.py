"""The command line in Hydra's grammar: what it says of keys and groups, before anything is composed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from selfdebias.config.rules import ConfigError

HYDRA = ("hydra.", "hydra/")  # keys of Hydra's own settings
MANY = 16  # options that a message names all of
LISTED = ("experiment", "logger")  # groups of which several options go together
_OF_WANDB = re.compile(r"(?P<sign>[+~]*)logger\.(?!(?:wandb|csv|tensorboard|none)\b)(?P<key>[\w.]+(=|$))")

_NO_PLUS = re.compile(r"^\++(?=(tags|hydra\.((job|launcher|sweeper)\.)?\w+)=)")  # there are no others to be added


def parse(overrides: Sequence[str], sweep: bool = False, loader: Any = None) -> list[Override]:
    """Parses overrides.

    Args:
        overrides: Those of the command line.
        sweep: Whether a key may have several values.
        loader: As in `expand`.

    Raises:
        ConfigError: If one of them is no override, or has several values or sets Hydra itself and may not.
    """
    parser = OverridesParser.create(config_loader=loader)
    parsed = []
    for text in overrides:
        if text.startswith("-"):
            raise ConfigError(f"`{text}` is not an option. See `selfdebias --help`.")
        try:
            override = parser.parse_override(text)
            override.config_loader = loader
        except HydraException:
            override = None
        if override is None or not override.key_or_group:
            raise ConfigError(f"`{text}` must be <key>=<value> in Hydra's grammar; quote a value with spaces.")
        if override.is_sweep_override() and override.is_hydra_override():
            raise ConfigError(f"`{override.key_or_group}` must be one value, got `{text}`.")
        if override.is_sweep_override() and not sweep:
            raise ConfigError(f"`{text}` names several values: start a sweep with -m, or put a text in quotes.")
        parsed.append(override)
    return parsed


def with_names_of_today(words: Sequence[str]) -> list[str]:
    """A command line with the full names of what has a shorter one: W&B's options were `logger.<option>` alone once.

    Example:
        >>> with_names_of_today(["logger.mode=online", "+logger.entity=us", "logger.csv.name=a", "+tags=[b]"])
        ['logger.wandb.mode=online', '+logger.wandb.entity=us', 'logger.csv.name=a', 'tags=[b]']
        >>> with_names_of_today(["+hydra.launcher.nodes=2", "+hydra.job.env_set.A=b"])
        ['hydra.launcher.nodes=2', '+hydra.job.env_set.A=b']
    """
    words = [
        _OF_WANDB.sub(r"\g<sign>logger.wandb.\g<key>", word, count=1) if _OF_WANDB.match(word) else word
        for word in words
    ]
    return [_NO_PLUS.sub("", word) for word in words]


def split_settings(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides of a job, and those of Hydra's own settings.

    Example:
        >>> split_settings(["guidance.strength=3", "hydra/launcher=basic", "+hydra.job.env_set.A=b"])
        (['guidance.strength=3'], ['hydra/launcher=basic', '+hydra.job.env_set.A=b'])
    """
    settings = [text for text in overrides if text.lstrip("+~").startswith(HYDRA)]
    return [text for text in overrides if text not in settings], settings


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


def choices(parsed: Sequence[Override], folders: Sequence[Path]) -> list[str]:
    """The overrides that choose an option of a group."""
    return [o.input_line for o in parsed if is_group(o, folders) and o.input_line]


def groups_of(folders: Sequence[Path]) -> list[str]:
    """The groups of a configuration: folders among its files."""
    return sorted(
        {path.name for folder in folders for path in folder.iterdir() if path.is_dir() and path.name != "hydra"}
    )


def is_group(override: Override, folders: Sequence[Path]) -> bool:
    """Whether an override is one of a group, by its folder among those of the configuration."""
    name = override.key_or_group
    return "." not in name and any((folder / name).is_dir() for folder in folders)


def options_of(group: str, folders: Sequence[Path]) -> list[str]:
    """The options of a group: `paper`, and after these `ablation/strength`, of a folder in it."""
    options = {
        file.relative_to(folder / group).with_suffix("").as_posix()
        for folder in folders
        for file in (folder / group).rglob("*.yaml")
    }
    return sorted(options, key=lambda option: ("/" in option, option))


def options_with(folders: Sequence[Path], key: str) -> list[str]:
    """The options of a key's group that have it, of their own or from the option that they build on."""
    group, _, name = key.partition(".")
    if not name or ("." in name and group != "logger"):
        return []
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml") if _has(file, name)})


def _has(file: Path, name: str) -> bool:
    """Whether an option has a key, of its own or from an option of the same folder that it builds on."""
    content = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else {}
    assert isinstance(content, dict)
    bases = [it for it in content.get("defaults", ()) if isinstance(it, str) and it != "_self_" and "@" not in it]
    return OmegaConf.select(OmegaConf.create(content), name, default=_has) is not _has or any(
        _has(file.with_name(f"{base}.yaml"), name) for base in bases
    )


def check_options(parsed: Sequence[Override], folders: Sequence[Path]) -> None:
    """Refuses `group=option` where there is no such file; Hydra's own message takes seven lines."""
    for override in parsed:
        if not is_group(override, folders):
            continue
        group, options, chosen = override.key_or_group, options_of(override.key_or_group, folders), override.value()
        if (override.is_add() or override.is_force_add()) and override.package is None:
            many = f", or {group}=[a,{chosen}] for several" if group in LISTED else ""
            raise ConfigError(f"`{override.input_line}` must be without a plus: {group}={chosen}{many}.")
        if "none" in options and (override.is_delete() or chosen is None or chosen == []):
            raise ConfigError(
                f"`{group}` must be one of {_in_words(options, '')}, got {'null' if chosen is None else chosen}: take {group}=none."
            )
        several = chosen if isinstance(chosen, list) and group in LISTED else [chosen]
        for option in several if not override.is_delete() else ():  # of another group, one is taken
            if option not in options:
                raise ConfigError(f"`{group}` must be one of {_in_words(options, str(option))}, got {option}.")
            if group == "experiment" and override.package is None:
                _check_package(next(it for folder in folders if (it := folder / group / f"{option}.yaml").exists()))


def _check_package(file: Path) -> None:
    """Refuses an experiment without the line by which its values are those of the whole configuration."""
    if not re.search(r"^#\s*@package\s+_global_\s*$", file.read_text(encoding="utf-8"), re.MULTILINE):
        raise ConfigError(f"`experiment` must begin with the line `# @package _global_`, and {file} does not.")


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


def expand(overrides: Sequence[str], loader: Any = None, ends: bool = False) -> list[list[str]]:
    """The overrides of each job: all pairs of values; of a key that is there twice the later value, in the former's place.

    Args:
        overrides: In Hydra's grammar.
        loader: Hydra's, that knows the options which `glob(*)` stands for.
        ends: Whether only the first value of each key and the last one of each are wanted, also of an interval. Of a group all are,
            in all pairs, since each of its options may say anything.

    Raises:
        ConfigError: If a key names no values.
    """
    values: dict[str, list[str]] = {}
    for override in parse(overrides, sweep=True, loader=loader):
        key = override.get_key_element()
        values[key] = [str(override.input_line)]
        if override.is_sweep_override():
            values[key] = [f"{key}={value}" for value in _values(override, ends)]
    if ends:
        either = ([given if "." not in key else [given[end]] for key, given in values.items()] for end in (0, -1))
        return [list(job) for each in either for job in product(*each)]
    return [list(job) for job in product(*values.values())]


def _values(override: Override, ends: bool) -> list[str]:
    given: Any = override.value()
    if ends:
        _check_searched(override)
    if ends and isinstance(given, IntervalSweep):
        return [str(given.start), str(given.end)]
    try:
        return list(override.sweep_string_iterator())
    except HydraException:
        key = override.get_key_element()
        words = f"`{key}` must name its values in a sweep, as in {key}=a,b; an interval is for hydra/sweeper=search."
        raise ConfigError(words) from None


def _check_searched(override: Override) -> None:
    """Refuses an interval that is none, and a logarithmic scale of what is none, which a search would not keep to."""
    key, given = override.get_key_element(), override.value()
    log = "log" in getattr(given, "tags", ())
    if not isinstance(given, IntervalSweep):
        if log:
            raise ConfigError(f"`{key}` must be an interval with tag(log, ...): {key}=tag(log, interval(low, high)).")
    elif given.start is None or given.end is None or given.start > given.end or (log and given.start <= 0):
        words = "an interval from a lower to a higher number" + (", above 0 with tag(log, ...)" if log else "")
        raise ConfigError(f"`{key}` must be {words}, got `{override.input_line}`.")


def refuse_sweep(parsed: Sequence[Override], swept: Mapping[str, str]) -> None:
    """Refuses an experiment that is a sweep, unless each key that it sweeps over has one value."""
    given = {override.get_key_element().lstrip("+") for override in parsed}
    left = [key for key in swept if key.lstrip("+") not in given]
    if left:
        name = next((str(override.value()) for override in parsed if override.key_or_group == "experiment"), "")
        raise ConfigError(f"`experiment` {name} is a sweep over {', '.join(left)}: start it with -m, by itself.")
