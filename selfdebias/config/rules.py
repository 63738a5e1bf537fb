"""What a configuration must look like: its sections and their values, before any part is imported."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

GROUPS = (
    "model",
    "encoder",
    "projector",
    "clustering",
    "bank",
    "vocabulary",
    "guidance",
    "schedule",
    "prompts",
    "judge",
    "metrics",
    "trainer",
    "logger",
    "paths",
)
STAGES = ("collect", "discover", "project", "generate", "evaluate", "report")
TABLE = "table"  # stands alone in `stages`: it makes the table of jobs that are finished
QUALITIES = ("kept_cosine", "precision_ratio", "kid", "clip_score")


class ConfigError(ValueError):
    """One line about something that the user asked for and that cannot be."""


class Rule(NamedTuple):
    """A test of one value, and its words."""

    words: str
    holds: Callable[[Any], bool]


def whole(value: Any) -> bool:
    """Whether a value is a whole number, which true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(it, str) and it.strip() for it in value)


def _paths(value: Any) -> bool:
    """Whether a value is a list of paths that a file system can have."""
    return _texts(value) and all("\0" not in it and all(len(p.encode()) < 256 for p in it.split("/")) for it in value)


WEIGHTS = {"_target_", "pretrained", "revision", "variant", "config", "allow_pickle"}  # options that choose a model

LARGEST = 10**4  # of a strength and such: beyond it nothing is measured but overflow


def whole_in(least: int, most: int) -> Rule:
    """The rule of whole numbers in a range, both ends included.

    Example:
        >>> whole_in(1, 8).words, whole_in(1, 8).holds(8), whole_in(1, 8).holds(True)
        ('a whole number in [1, 8]', True, False)
    """
    return Rule(f"a whole number in [{least}, {most}]", lambda value: whole(value) and least <= value <= most)


AT_LEAST_0 = Rule("a whole number of at least 0", lambda value: whole(value) and value >= 0)
AT_LEAST_1 = Rule("a whole number of at least 1", lambda value: whole(value) and value >= 1)
IMAGES, BATCH, SEED = whole_in(1, 10**7), whole_in(1, 10**5), whole_in(0, 2**63 - 1)

A_PART = Rule("a number in (0, 1]", lambda value: is_number(value) and 0 < value <= 1)

SAMPLER = Rule(
    "null, or a dictionary of options of `model` that choose no other weights",
    lambda value: value is None or (isinstance(value, Mapping) and not {*value} & WEIGHTS),
)

FOLDERS = Rule(
    "null, a list of folders, or a dictionary of folders by name",
    lambda value: value is None or _paths(value) or (isinstance(value, Mapping) and _paths([*value.values()])),
)
KEYS = Rule("a list of keys, such as [generate.seed]", lambda value: value == [] or _texts(value))
A_TEXT = Rule("null or a measure, such as gender.fd_hard", lambda value: value is None or _texts([value]))
QUALITY = Rule(f"one of {', '.join(QUALITIES)}", lambda value: value in QUALITIES)
A_PATH = Rule("null or a path", lambda value: value is None or _paths([value]))

SECTIONS: Mapping[str, Mapping[str, Rule]] = {
    "collect": {"n_images": IMAGES, "batch_size": BATCH, "timesteps": whole_in(1, 10**4), "seed": SEED}
    | {"relative_scale": A_PART},
    "discover": {},
    "project": {"seed": SEED},
    "generate": {"n_images": IMAGES, "batch_size": BATCH, "seed": SEED, "sampler": SAMPLER},
    # Of fewer resamples a 95% interval has no ends, and of one image nothing has a spread.
    "evaluate": {"batch_size": BATCH, "bootstrap": whole_in(20, 10**6), "seed": SEED, "labelled": A_PATH}
    | {
        "folders": FOLDERS,
        "reference": A_PATH,
        "reference_images": whole_in(2, 10**7),
        "modes": A_PATH,
        "drawn_together": IMAGES,
    },
    "report": {"images": whole_in(1, 10**4)},
    TABLE: {"root": A_PATH, "pool": KEYS, "fairness": A_TEXT, "quality": QUALITY},
}

# What a number or a list of numbers of a guidance may be in place of it.
NAMED: Mapping[str, tuple[str, ...]] = {"temperature": ("calibrated",), "target": ("uniform", "depth")}

# By the type of a default value: what may stand in its place. A text may give way to a list (a target by its name, or
# by its shares), null to anything: the part itself knows more.
_KINDS: tuple[tuple[type, Rule], ...] = (
    (bool, Rule("true or false", lambda value: isinstance(value, bool))),
    (int, Rule("a whole number", lambda value: whole(value) or value is None)),
    (float, Rule("a number", lambda value: whole(value) or isinstance(value, float) or value is None)),
    (str, Rule("a text", lambda value: isinstance(value, str | list) or value is None)),
    (list, Rule("a list", lambda value: isinstance(value, list) or value is None)),
)


def check(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuses a resolved configuration that breaks a rule.

    Args:
        config: The configuration as asked for.
        defaults: The same options of each group with no value changed; its values say which types are meant.

    Raises:
        ConfigError: With one line that names the option, the rule and the value.
    """
    _check_keys(config)
    known = dict(walk(defaults))
    for path, value in walk(config):
        _check_value(path, value, known)
    _check_stages(config["stages"], config[TABLE]["root"])
    _check_pool(config)


def walk(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted path, value) of each leaf; a list is a leaf, unless it holds a dictionary.

    Example:
        >>> list(walk({"a": {"b": 1}, "c": [2]}))
        [('a.b', 1), ('c', [2])]
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from walk(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for index, item in enumerate(value):
            yield from walk(item, f"{prefix}.{index}")
    else:
        yield prefix, value


def refuse(path: str, words: str, value: Any) -> ConfigError:
    """The error for a value that breaks a rule, in one line."""
    shown = "null" if value is None else repr(value)
    return ConfigError(f"`{path}` must be {words}, got {shown}.")


def _check_keys(config: Mapping[str, Any]) -> None:
    expected = (*GROUPS, "stages", *SECTIONS)
    for key in config:
        if key not in expected:
            raise ConfigError(f"`{key}` is not an option. The sections are {', '.join(expected)}.")
    for key in expected:
        if key not in config or (key != "stages" and not isinstance(config[key], Mapping)):
            raise refuse(key, "a section of the configuration", config.get(key))
    for group in GROUPS:
        if group != "paths" and "_target_" not in config[group]:
            raise refuse(f"{group}._target_", "the name of a class", None)
    for section, rules in SECTIONS.items():
        for key in config[section]:
            if key not in rules:
                raise ConfigError(f"`{section}.{key}` is not an option. {section} has {', '.join(rules) or 'none'}.")
        for key, rule in rules.items():
            if not rule.holds(config[section].get(key)):
                raise refuse(f"{section}.{key}", rule.words, config[section].get(key))


def _check_value(path: str, value: Any, defaults: Mapping[str, Any]) -> None:
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, float) and not math.isfinite(number):
            raise refuse(path, "finite", number)
        if isinstance(number, str) and "${" in number:  # what is left of one that was escaped: no folder may hold any
            raise refuse(path, "without ${", number)
    default = defaults.get(path)
    if path.startswith("guidance") and value in NAMED.get(path.rpartition(".")[2], ()):
        return
    for kind, rule in _KINDS:
        if isinstance(default, kind):
            if not rule.holds(value):
                raise refuse(path, rule.words, value)
            break
    if path.endswith(".target") and path.startswith("guidance") and value is not None:
        _check_target(path, value)
    if path.endswith(".strength") and not (is_number(value) and 0 <= value <= LARGEST):
        raise refuse(path, f"a number in [0, {LARGEST}]", value)


def _check_target(path: str, value: Any) -> None:
    numbers = isinstance(value, list) and all(is_number(share) and share >= 0 for share in value)
    if not numbers or len(value) < 2 or not abs(sum(value) - 1) <= 1e-5:
        raise refuse(path, "a list of at least two shares that sum to 1, uniform or depth", value)


def _check_pool(config: Mapping[str, Any]) -> None:
    """Refuses a key that no job has: nothing would be pooled, and nothing would say so."""
    known = {path for path, _ in walk(config)} | {*config}
    for key in config[TABLE]["pool"]:
        part_of_group = key.split(".")[0] in GROUPS  # whose keys are those of the option that a job chose
        if key not in known and not part_of_group and not key.startswith("generate.sampler."):
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(f"`{TABLE}.pool`: {key} is no key of a job.{f' Did you mean {near[0]}?' if near else ''}")


def _check_stages(stages: Any, root: str | None) -> None:
    if not isinstance(stages, list) or not stages:
        raise refuse("stages", f"a list of some of {', '.join(STAGES)}, or [{TABLE}]", stages)
    for stage in stages:
        if stage not in STAGES and stages != [TABLE]:
            raise refuse("stages", f"some of {', '.join(STAGES)}, or [{TABLE}] alone", stage)
    if len(set(stages)) != len(stages):
        raise refuse("stages", "a list without repeats", stages)
    if (stages == [TABLE]) != (root is not None):
        words = "a folder of a sweep or a root of runs with stages=[table], and null without it"
        raise refuse(f"{TABLE}.root", words, root)
