"""What a configuration must look like: its sections, and the kind and range of each value, before any part is imported."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from selfdebias.config.ranges import NAMED, RANGES, check_values
from selfdebias.config.rules import (
    TRUE_OR_FALSE,
    ConfigError,
    Rule,
    is_number,
    number_in,
    one_of,
    or_null,
    refuse,
    walk,
    whole,
    whole_in,
)

GROUPS = (
    "model", "encoder", "projector", "clustering", "bank", "vocabulary", "guidance", "schedule", "prompts", "judge", "metrics",
    "trainer", "logger", "paths",
)  # fmt: skip
STAGES = ("collect", "discover", "project", "generate", "evaluate", "report")
LOGGERS = ("wandb", "csv", "tensorboard")  # names of those in conf/logger
LISTS = ("stages", "tags")  # sections that are lists
TABLE = "table"  # stands alone in `stages`: it makes the table of jobs that are finished
QUALITIES = ("kept_cosine", "precision_ratio", "kid", "clip_score")
WEIGHTS = {"_target_", "pretrained", "revision", "variant", "config", "allow_pickle"}  # options that choose a model


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(it, str) and it.strip() for it in value)


def _paths(value: Any) -> bool:
    """Whether a value is a list of paths that a file system can have."""
    return _texts(value) and all("\0" not in it and all(len(p.encode()) < 256 for p in it.split("/")) for it in value)


IMAGES, BATCH, SEED = whole_in(1, 10**7), whole_in(1, 10**5), whole_in(0, 2**63 - 1)
TAGS = Rule(
    "a list of different texts of 1 to 64 letters",  # as W&B takes them
    lambda value: (
        value == [] or (_texts(value) and len(set(value)) == len(value) and all(len(it) <= 64 for it in value))
    ),
)
A_PATH = or_null(Rule("a path", lambda value: _paths([value])))
SAMPLER = or_null(
    Rule(
        "a dictionary of options of `model` that choose no other weights",
        lambda value: isinstance(value, Mapping) and not {*value} & WEIGHTS,
    )
)
FOLDERS = Rule(
    "null, a list of folders, or a dictionary of folders by name",
    lambda value: value is None or _paths(value) or (isinstance(value, Mapping) and _paths([*value.values()])),
)

SECTIONS: Mapping[str, Mapping[str, Rule]] = {
    "collect": {
        "n_images": IMAGES,
        "batch_size": BATCH,
        "timesteps": whole_in(1, 10**4),
        "seed": SEED,
        "relative_scale": number_in(0, 1, "(]"),
    },
    "discover": {},
    "project": {"seed": SEED},
    "generate": {"n_images": IMAGES, "batch_size": BATCH, "seed": SEED, "sampler": SAMPLER},
    "evaluate": {
        "batch_size": BATCH,
        "bootstrap": whole_in(20, 10**6),  # of fewer resamples a 95% interval has no ends
        "seed": SEED,
        "labelled": A_PATH,
        "folders": FOLDERS,
        "reference": A_PATH,
        "reference_images": whole_in(2, 10**7),  # of one image nothing has a spread
        "modes": A_PATH,
        "drawn_together": IMAGES,
    },
    "report": {"images": whole_in(1, 10**4)},
    TABLE: {
        "root": A_PATH,
        "pool": Rule("a list of keys, such as [generate.seed]", lambda value: value == [] or _texts(value)),
        "fairness": or_null(Rule("a measure, such as gender.fd_hard", lambda value: _texts([value]))),
        "quality": one_of(*QUALITIES),
    },
}

# By the type of a default value: what may stand in its place. A text may give way to a list (a target by its name, or
# by its shares), and all but true and false to null: the part itself knows more.
KINDS: Mapping[type, Rule] = {
    bool: TRUE_OR_FALSE,
    int: Rule("a whole number", lambda value: value is None or whole(value)),
    float: Rule("a number", lambda value: value is None or is_number(value)),
    str: Rule("a text", lambda value: value is None or isinstance(value, str | list)),
    list: Rule("a list", lambda value: value is None or isinstance(value, list)),
}


def check_schema(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuses a resolved configuration with an unknown section, or with a value of another kind or out of its range.

    Args:
        config: The configuration as asked for.
        defaults: The same options of each group with no value changed; its values say which types are meant.

    Raises:
        ConfigError: With one line that names the option, the rule and the value.
    """
    _check_sections(config)
    kinds = dict(walk(defaults))
    for path, value in walk(config):
        _check_kind(path, value, kinds.get(path))
    _check_trainer(config["trainer"])
    for group in GROUPS:
        check_values(group, config[group])
    _check_sampler(config["generate"]["sampler"] or {}, config["model"])
    _check_stages(config["stages"], config[TABLE]["root"])
    _check_pool(config)


def _check_sampler(sampler: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    for name in sampler:
        if name not in model:
            raise refuse(
                f"generate.sampler.{name}", f"an option of the model ({', '.join(sorted(model))})", sampler[name]
            )
    check_values("model", sampler, "generate.sampler")


def _check_sections(config: Mapping[str, Any]) -> None:
    expected = (*GROUPS, *LISTS, *SECTIONS)
    for key in config:
        if key not in expected:
            raise ConfigError(f"`{key}` is not an option. The sections are {', '.join(expected)}.")
    for key in expected:
        if key not in config or (key not in LISTS and not isinstance(config[key], Mapping)):
            raise refuse(key, "a section of the configuration", config.get(key))
    for group in GROUPS:
        if group not in ("paths", "logger") and "_target_" not in config[group]:
            raise refuse(f"{group}._target_", "the name of a class", None)
    for name, logger in config["logger"].items():
        if isinstance(logger, Mapping) and "_target_" not in logger and name in LOGGERS:
            raise ConfigError(f"`logger.{name}` has options, but this job does not use that logger: add logger={name}.")
        if not isinstance(logger, Mapping) or "_target_" not in logger:
            raise refuse(f"logger.{name}", f"under the name of its logger, as logger.wandb.{name}", logger)
    if not TAGS.holds(config["tags"]):
        raise refuse("tags", TAGS.words, config["tags"])
    for section, rules in SECTIONS.items():
        for key in config[section]:
            if key not in rules:
                raise ConfigError(f"`{section}.{key}` is not an option. {section} has {', '.join(rules) or 'none'}.")
        for key, rule in rules.items():
            if not rule.holds(config[section].get(key)):
                raise refuse(f"{section}.{key}", rule.words, config[section].get(key))


def _check_kind(path: str, value: Any, default: Any) -> None:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not math.isfinite(item):
            raise refuse(path, "finite", item)
        if isinstance(item, str) and "${" in item:  # what is left of one that was escaped: no folder may hold any
            raise refuse(path, "without ${", item)
    named = path.startswith("guidance") and value in NAMED.get(path.rpartition(".")[2], ())
    rule = KINDS.get(type(default))
    if rule and not named and not rule.holds(value):
        raise refuse(path, rule.words, value)


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    """Refuses options of Lightning's Trainer that no stage is made for, such as those that cut its loops short."""
    for key in trainer:
        if key not in RANGES["trainer"] and not key.startswith("_"):
            raise ConfigError(
                f"`trainer.{key}` is not an option: it could cut a stage short. trainer has {', '.join(RANGES['trainer'])}."
            )


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
