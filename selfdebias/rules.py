"""What a configuration must look like: its sections and their values, before any part is imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from selfdebias.prompt_texts import different_texts, with_place

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


class ConfigError(ValueError):
    """One line about something that the user asked for and that cannot be."""


class Rule(NamedTuple):
    """A test of one value, and its words."""

    words: str
    holds: Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(it, str) and it.strip() for it in value)


WEIGHTS = {"_target_", "pretrained", "revision", "variant", "config", "allow_pickle"}  # options that choose a model

AT_LEAST_0 = Rule("a whole number of at least 0", lambda value: _whole(value) and value >= 0)
AT_LEAST_1 = Rule("a whole number of at least 1", lambda value: _whole(value) and value >= 1)

SAMPLER = Rule(
    "null, or a dictionary of options of `model` that choose no other weights",
    lambda value: value is None or (isinstance(value, Mapping) and not {*value} & WEIGHTS),
)

FOLDERS = Rule(
    "null, a list of folders, or a dictionary of folders by name",
    lambda value: value is None or _texts(value) or (isinstance(value, Mapping) and _texts([*value.values()])),
)
A_PATH = Rule("null or a path", lambda value: value is None or _texts([value]))

SECTIONS: Mapping[str, Mapping[str, Rule]] = {
    "collect": {"n_images": AT_LEAST_1, "batch_size": AT_LEAST_1, "timesteps": AT_LEAST_1, "seed": AT_LEAST_0},
    "discover": {},
    "project": {"seed": AT_LEAST_0},
    "generate": {"n_images": AT_LEAST_1, "batch_size": AT_LEAST_1, "seed": AT_LEAST_0, "sampler": SAMPLER},
    "evaluate": {"batch_size": AT_LEAST_1, "bootstrap": AT_LEAST_1, "seed": AT_LEAST_0, "labelled": A_PATH}
    | {"folders": FOLDERS, "reference": A_PATH, "modes": A_PATH, "drawn_together": AT_LEAST_1},
    "report": {"images": AT_LEAST_1},
}

_ABOVE_0 = Rule("a number larger than 0", lambda value: _number(value) and value > 0)
_NOT_BELOW_0 = Rule("a number of at least 0", lambda value: _number(value) and value >= 0)
READERS = ("flattened", "pooled", "convolutional")
PROJECTOR: Mapping[str, Rule] = {
    "reader": Rule(f"one of {', '.join(READERS)}", lambda value: value in READERS),
    "hidden": AT_LEAST_1,
    "steps": AT_LEAST_1,
    "batch_size": Rule("a whole number of at least 2", lambda value: _whole(value) and value >= 2),
    "noise": _NOT_BELOW_0,
    "weight_decay": _NOT_BELOW_0,
    "temperature": _ABOVE_0,
    "learning_rate": _ABOVE_0,
    "dropout": Rule("a number in [0, 1)", lambda value: _number(value) and 0 <= value < 1),
    "balanced": Rule("true or false", lambda value: isinstance(value, bool)),
    "negatives": Rule("true or false", lambda value: isinstance(value, bool)),
}

CLUSTERING: Mapping[str, Rule] = {
    "k": Rule("null or a whole number of at least 1", lambda value: value is None or (_whole(value) and value >= 1)),
    "k_min": Rule("a whole number of at least 2", lambda value: _whole(value) and value >= 2),
    "choice": Rule("silhouette or stability", lambda value: value in ("silhouette", "stability")),
    "space": Rule("image, residual or projected", lambda value: value in ("image", "residual", "projected")),
    "covariance": Rule("diag, spherical, tied or full", lambda value: value in ("diag", "spherical", "tied", "full")),
    "linkage": Rule("ward, average or complete", lambda value: value in ("ward", "average", "complete")),
    "n_init": AT_LEAST_1,
    "min_size": AT_LEAST_1,
    "max_depth": AT_LEAST_0,
    "min_samples": AT_LEAST_1,
    "min_cluster_size": Rule("a whole number of at least 2", lambda value: _whole(value) and value >= 2),
}

# What a number or a list of numbers of a guidance may be in place of it.
NAMED: Mapping[str, tuple[str, ...]] = {"temperature": ("calibrated",), "target": ("uniform", "depth")}

# By the type of a default value: what may stand in its place. A text may give way to a list (a target by its name, or
# by its shares), null to anything: the part itself knows more.
_KINDS: tuple[tuple[type, Rule], ...] = (
    (bool, Rule("true or false", lambda value: isinstance(value, bool))),
    (int, Rule("a whole number", lambda value: _whole(value) or value is None)),
    (float, Rule("a number", lambda value: _whole(value) or isinstance(value, float) or value is None)),
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
    _check_stages(config["stages"])
    _check_across(config)


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
    if path.endswith(".strength") and not (isinstance(value, int | float) and value >= 0):
        raise refuse(path, "a number of at least 0", value)


def _check_target(path: str, value: Any) -> None:
    numbers = isinstance(value, list) and all(isinstance(share, int | float) and share >= 0 for share in value)
    if not numbers or len(value) < 2 or not abs(sum(value) - 1) <= 1e-5:
        raise refuse(path, "a list of at least two shares that sum to 1, uniform or depth", value)


def _check_stages(stages: Any) -> None:
    if not isinstance(stages, list) or not stages:
        raise refuse("stages", f"a list of some of {', '.join(STAGES)}", stages)
    for stage in stages:
        if stage not in STAGES:
            raise refuse("stages", f"some of {', '.join(STAGES)}", stage)
    if len(set(stages)) != len(stages):
        raise refuse("stages", "a list without repeats", stages)


def _check_across(config: Mapping[str, Any]) -> None:
    _check_prompts(config)
    root = config["paths"].get("root")
    if not isinstance(root, str) or not root.strip():
        raise refuse("paths.root", "the path of a folder", root)
    check_projector(config["projector"])
    _check_clustering(config["clustering"], config["collect"]["n_images"])
    _check_space(config["clustering"], config["projector"])
    _check_modes(config["clustering"], config["guidance"])


def _check_prompts(config: Mapping[str, Any]) -> None:
    prompts = config["prompts"]
    text = prompts.get("text")
    none = str(prompts["_target_"]).endswith(".NoPrompt")  # says itself that it takes no text
    if "subjects" not in prompts and (not isinstance(text, str) or not (text.strip() or none)):
        raise refuse("prompts.text", "a text that is not blank", text)
    try:
        if "subjects" in prompts:
            different_texts("subjects", prompts["subjects"])
        count = len(with_place(prompts["templates"])) if "templates" in prompts else 1
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for stage in ("collect", "generate"):
        if config[stage]["n_images"] < count:
            words = f"at least {count}, one for each of `prompts.templates`"
            raise refuse(f"{stage}.n_images", words, config[stage]["n_images"])


def check_projector(projector: Mapping[str, Any]) -> None:
    """Refuses values of the projector whose own class would speak only when it is trained, after all images are drawn.

    Raises:
        ConfigError: With the first wrong value.
    """
    if str(projector["_target_"]).endswith(".ProjectorFit"):
        for name, rule in PROJECTOR.items():
            if name in projector and not rule.holds(projector[name]):
                raise refuse(f"projector.{name}", rule.words, projector[name])


def _check_modes(clustering: Mapping[str, Any], guidance: Mapping[str, Any]) -> None:
    """A target must have as many shares as there can be modes."""
    for path, target in walk(guidance, "guidance"):
        if path.endswith(".target") and isinstance(target, list):
            least, most = clustering.get("k_min", 2), clustering.get("k_max")
            if "max_depth" in clustering or clustering.get("k") is not None:
                continue  # a second stage makes more modes, a given k others: generate knows how many
            if isinstance(most, int) and not least <= len(target) <= most:
                words = f"as many shares as modes, {least} to {most} (`clustering.k_min`, `clustering.k_max`)"
                raise refuse(path, words, target)


def _check_space(clustering: Mapping[str, Any], projector: Mapping[str, Any]) -> None:
    """A projector that comes before the modes cannot be balanced over them."""
    if clustering.get("space") == "projected" and projector.get("balanced") is True:
        raise refuse("projector.balanced", "false where `clustering.space` is projected, as no mode is known yet", True)


def _check_clustering(clustering: Mapping[str, Any], n_images: int) -> None:
    """What an estimator says only when it is fitted, and that is after all images are drawn."""
    for name, rule in CLUSTERING.items():
        if name in clustering and not rule.holds(clustering[name]):
            raise refuse(f"clustering.{name}", rule.words, clustering[name])
    widths = clustering.get("n_neighbors")
    if isinstance(widths, list) and not (widths and all(_whole(n) and n >= 1 for n in widths)):
        raise refuse("clustering.n_neighbors", "a list of whole numbers of at least 1", widths)
    k_min, k_max = clustering.get("k_min"), clustering.get("k_max")
    if isinstance(k_min, int) and isinstance(k_max, int) and k_max < k_min:
        raise refuse("clustering.k_max", f"a whole number of at least `clustering.k_min`, {k_min}", k_max)
    given, size = clustering.get("k"), clustering.get("min_cluster_size")
    most = int(next((value for value in (given, k_max) if _whole(value)), 1))  # type: ignore[arg-type]
    halved = clustering.get("choice") == "stability" and given is None
    times, words = (4, "four times") if halved else (2, "twice")
    if n_images < times * most:
        raise refuse(
            "collect.n_images", f"at least {times * most}, {words} the {most} modes that clustering tries", n_images
        )
    if isinstance(size, int) and n_images < 2 * size:
        raise refuse("collect.n_images", f"at least {2 * size}, twice `clustering.min_cluster_size`", n_images)
