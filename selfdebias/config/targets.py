"""What a configuration may name as code, and the making of it.

A `_target_` is code that runs, so what it may name stands here and not in the configuration: in a group, the classes of this
package that are parts of that group (a schedule is a `GuidanceWindow`); the foreign classes of `FOREIGN`, each by its exact name;
and classes of the packages that an installed plug-in registers under `selfdebias.plugins`. The name is checked before
anything is imported, and the class that it leads to afterwards, so that an alias (`selfdebias.<module>.os.system`) leads nowhere.
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, get_type_hints

from hydra.utils import get_object, instantiate

from selfdebias.config.rules import ConfigError, mapped, nodes, refuse, rule_of

OWN = "selfdebias"
PLUGINS = "selfdebias.plugins"

# Classes of other packages, by their exact names: (where they may stand, what they are needed for).
FOREIGN: Mapping[str, tuple[str, str]] = {
    "pytorch_lightning.Trainer": ("trainer", "runs the loops of the stages"),
    "pytorch_lightning.loggers.WandbLogger": ("logger.wandb", "logger=wandb"),
    "pytorch_lightning.loggers.CSVLogger": ("logger.csv", "logger=csv"),
    "pytorch_lightning.loggers.TensorBoardLogger": ("logger.tensorboard", "logger=tensorboard"),
    "pytorch_lightning.loggers.logger.DummyLogger": ("logger.none", "logger=none"),
}

# What a class of this package must derive from, by the last part of the place where it stands; a place that is not here takes
# none of them.
PARTS: Mapping[str, tuple[str, ...]] = {
    "model": ("selfdebias.backbones.pretrained.PretrainedBackbone",),
    "scheduler": ("selfdebias.backbones.pretrained.SchedulerChoice",),
    "encoder": ("selfdebias.encoders.base.Encoder",),
    "features": ("selfdebias.encoders.base.Encoder", "selfdebias.encoders.inception.InceptionFeatures"),
    "projector": ("selfdebias.modes.projector_fit.ProjectorFit",),
    "clustering": ("selfdebias.modes.estimator.ModeEstimator", "selfdebias.modes.axes.FactorialAxes"),
    "bank": ("selfdebias.modes.banks.OwnBank", "selfdebias.modes.banks.SupervisedBank", "selfdebias.modes.banks.SharedBank"),
    "vocabulary": ("selfdebias.modes.naming.Vocabulary", "selfdebias.modes.naming.NoVocabulary"),
    "guidance": ("selfdebias.guidance.base.Guidance", "selfdebias.guidance.selection.Selection"),
    "of": ("selfdebias.guidance.base.Guidance",),
    "steer": ("selfdebias.guidance.base.Guidance",),
    "schedule": ("selfdebias.guidance.schedules.GuidanceWindow",),
    "prompts": (
        "selfdebias.config.prompts.Prompts", "selfdebias.config.prompts.PromptList", "selfdebias.config.prompts.NoPrompt",
        "selfdebias.config.prompts.EqualShares",
    ),
    "judge": ("selfdebias.judges.Judge",),
    "metrics": ("selfdebias.metrics.metric.MetricSuite",),
}  # fmt: skip
PARTIAL = ("projector", "trainer")  # made by the stage that adds what it needs
_FOR_HYDRA = frozenset({"_target_", "_partial_"})
# Classes that stood elsewhere: a folder, a plug-in or a command line may name the old place, and keys hold it.
_PLACES = {
    f"selfdebias.{old}.{name}": (f"selfdebias.{new}.{name}", f"selfdebias.{new}.{old}.{name}")
    for old, new, names in (
        ("banks", "modes", ("OwnBank", "SupervisedBank", "MixtureBank", "CarriedBank")),
        ("prompts", "config", ("Prompts", "EqualShares", "NoPrompt", "PromptList")),
        ("schedules", "guidance", ("GuidanceWindow", "LinearSchedule", "CosineSchedule", "SignalToNoiseSchedule")),
        ("projector_fit", "modes", ("ProjectorFit",)),
    )
    for name in names
}
MOVED = {old: now for old, (now, _) in _PLACES.items()}
OLD_NAMES = {new: old for old, places in _PLACES.items() for new in places}  # of the package's face, and of the module
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def plugin_packages() -> tuple[str, ...]:
    """Top-level packages that an installed plug-in registers, sorted."""
    return _registered(tuple(sys.path))


@lru_cache
def _registered(places: tuple[str, ...]) -> tuple[str, ...]:
    """As `plugin_packages`, which looks through each installed package; remembered for the same places of `sys.path`."""
    return tuple(sorted({entry.module.split(".")[0] for entry in entry_points(group=PLUGINS)}))


def check_names(config: Any) -> None:
    """Checks the dotted name of each `_target_`, importing nothing.

    Args:
        config: A whole configuration, or a dictionary of some of its groups.

    Raises:
        ConfigError: If a name cannot be that of a class that may stand there.
    """
    plugins = plugin_packages()
    for path, node in _parts(config):
        name = node["_target_"]
        if not isinstance(name, str) or not _DOTTED.fullmatch(name) or not _may_stand(name, path, plugins):
            raise _refused(path, name, plugins)
        for key in ("_args_", "_convert_", "_recursive_"):
            if key in node:
                raise ConfigError(f"`{path}.{key}` is not an option: each argument has a name.")
        if "_partial_" in node and (_place(path) not in PARTIAL or node["_partial_"] is not True):
            raise ConfigError(
                f"`{path}._partial_` must be left out, or true for {' and '.join(PARTIAL)}, made by their stages."
            )


def check_objects(config: Any) -> None:
    """Imports what each `_target_` names, and checks that it is a part of its group and takes the options given.

    Args:
        config: As in `check_names`.

    Raises:
        ConfigError: If a name leads nowhere, to no class, or to one that may not stand there, or an option is not its own.
    """
    check_names(config)
    plugins = plugin_packages()
    for path, node in _parts(config):
        name = node["_target_"]
        try:
            target = get_object(MOVED.get(name, name))
        except Exception as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise ConfigError(f"`{path}._target_` must name a class, got {name!r}: {reason}") from error
        if not _is_part(target, name, path, plugins):
            origin = f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', '?')}"
            raise _refused(path, name, plugins, f", which is {origin}")
        _check_options(path, node, target)


def check_job(config: Mapping[str, Any]) -> None:
    """Checks a whole configuration, where `guidance.of` is no argument but another arm's guidance.

    Raises:
        ConfigError: As `check_objects` does.
    """
    own = {key: value for key, value in config["guidance"].items() if key != "of"}
    check_objects({**config, "guidance": own})
    check_objects({"guidance": {"of": config["guidance"].get("of")}})


def make(config: Mapping[str, Any], group: str) -> Any:
    """Checks `config[group]` as `check_objects` does, and returns the object that it describes.

    Raises:
        ConfigError: If it may not be made, its class refuses a value, or a file that it needs is missing.
    """
    check_objects({group: config[group]})
    try:
        now = mapped(config[group], lambda path, it: MOVED.get(it, it) if _place(path) == "_target_" else it)
        return instantiate(now, _convert_="all")
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, ValueError | TypeError | OSError):
            words = " ".join(str(cause).split())
            raise ConfigError(words if words.startswith(f"`{group}.") else f"{group}: {words}") from error
        raise


def _parts(config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (dotted path, dictionary) for each one that has a `_target_`, at any depth."""
    return ((path, it) for path, it in nodes(config) if isinstance(it, Mapping) and "_target_" in it)


def _place(path: str) -> str:
    """The last part of a dotted path, by which `PARTS` knows what may stand there."""
    return path.rpartition(".")[2]


def _may_stand(name: str, path: str, plugins: tuple[str, ...]) -> bool:
    """Whether a dotted name can be that of a class for this place."""
    if name in FOREIGN:
        return FOREIGN[name][0] == path
    package = name.split(".")[0]
    return package in plugins or (package == OWN and _place(path) in PARTS)


def _is_part(target: Any, name: str, path: str, plugins: tuple[str, ...]) -> bool:
    """Whether an imported object is a class that may stand in this place."""
    if name in FOREIGN:
        return True
    if not inspect.isclass(target):
        return False
    if target.__module__.split(".")[0] in plugins:
        return True
    bases = [get_object(base) for base in PARTS.get(_place(path), ())]
    return target.__module__.split(".")[0] == OWN and any(base in target.__mro__ for base in bases)


def _refused(path: str, name: Any, plugins: tuple[str, ...], origin: str = "") -> ConfigError:
    """The error for a name that may not stand in a place, with what may."""
    own = [f"a {base.rpartition('.')[2]} of {OWN}" for base in PARTS.get(_place(path), ())]
    foreign = [known for known, (place, _) in FOREIGN.items() if place == path]
    installed = [f"a class of the plug-in {package}" for package in plugins]
    words = ", ".join([*own, *foreign, *installed]) or "left out: no part goes there"
    return ConfigError(f"`{path}._target_` must be {words}, got {name!r}{origin}.")


def _arguments(target: type) -> tuple[dict[str, Any], bool]:
    """The keyword arguments of a class, and of those classes that it hands its `**` on to.

    Returns:
        Their annotations by name, and whether any other argument will do.

    Example:
        >>> class Base:
        ...     def __init__(self, *, steps: int = 1) -> None: ...
        >>> class Part(Base):
        ...     def __init__(self, name: str, **common: int) -> None: ...
        >>> _arguments(Part)
        ({'name': <class 'str'>, 'steps': <class 'int'>}, False)
    """
    found: dict[str, Any] = {}
    for base in [base for base in target.__mro__ if "__init__" in vars(base) and base is not object]:
        try:
            hints = get_type_hints(vars(base)["__init__"])
        except (NameError, TypeError):  # of what is imported for the type checker alone
            hints = {}
        parameters = inspect.signature(base).parameters.values()
        own = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        found |= {name: hints.get(name, Any) for name in own if name not in found}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return found, False
    return found, any(p.kind is p.VAR_KEYWORD for p in inspect.signature(target).parameters.values())


def _check_options(path: str, node: Mapping[str, Any], target: type) -> None:
    """Holds the keys of a dictionary against the keyword arguments of its class."""
    known, takes_any = _arguments(target)
    unknown = sorted(key for key in node.keys() - _FOR_HYDRA if key not in known and not takes_any)
    if unknown:
        ways = " ".join(f"~{path}.{key}" for key in unknown)
        meant = "".join(f"Did you mean `{path}.{it}`? " for it in difflib.get_close_matches(unknown[0], known, n=1))
        known_words = f"{meant}{target.__name__} has {', '.join(known) or 'none'}."
        words = f"{known_words} Where an experiment set it for another class, leave it out: {ways}"
        raise ConfigError(f"`{path}.{unknown[0]}` is not an option. {words}")
    if node["_target_"] not in FOREIGN:  # for which `ranges` has rules
        for key in [key for key in node if key in known]:
            rule = rule_of(known[key])
            if not rule.holds(node[key]):
                raise refuse(f"{path}.{key}", rule.words, node[key])
    own = inspect.signature(target).parameters
    missing = [
        name for name in own if name in known and own[name].default is inspect.Parameter.empty and name not in node
    ]
    if missing and not node.get("_partial_"):
        raise ConfigError(f"`{path}.{missing[0]}` must be given for {target.__name__}.")
