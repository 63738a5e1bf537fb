"""What a configuration may name as code, and the making of it.

A `_target_` is code that runs. The names of the packages that it may come from stand here, not in the configuration:
our own, the libraries we build on, and those that an installed plug-in registers under `selfdebias.plugins`. The
dotted name is checked before anything is imported, and the object that it leads to afterwards, so that an alias
(`selfdebias.<module>.os.system`) leads nowhere. Only classes are taken, never functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from hydra.utils import get_object, instantiate

from selfdebias.rules import ConfigError

LIBRARIES = ("selfdebias", "pytorch_lightning", "diffusers", "transformers", "torch", "sklearn", "torchmetrics")
PLUGINS = "selfdebias.plugins"
_FOR_HYDRA = frozenset({"_target_", "_partial_", "_convert_", "_recursive_"})


def allowed_packages() -> tuple[str, ...]:
    """Top-level packages that a `_target_` may come from."""
    return (*LIBRARIES, *sorted({entry.module.split(".")[0] for entry in entry_points(group=PLUGINS)}))


def check_names(config: Any) -> None:
    """Checks the dotted name of each `_target_`, importing nothing.

    Raises:
        ConfigError: If a name lies outside the allowed packages.
    """
    packages = allowed_packages()
    for path, node in _nodes(config):
        name = node["_target_"]
        if not isinstance(name, str) or name.split(".")[0] not in packages or "." not in name:
            raise ConfigError(f"`{path}._target_` must be a class from one of {', '.join(packages)}, got {name!r}.")
        if "_args_" in node:
            raise ConfigError(f"`{path}._args_` is not an option: each argument has a name.")


def check_objects(config: Any) -> None:
    """Imports what each `_target_` names, and checks that it is what it seems and takes the options given.

    Raises:
        ConfigError: If a name leads nowhere, to no class, or to a class from elsewhere, or an option is not its own.
    """
    check_names(config)
    packages = allowed_packages()
    for path, node in _nodes(config):
        target = _resolve(path, node["_target_"])
        if not inspect.isclass(target) or target.__module__.split(".")[0] not in packages:
            origin = f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', '?')}"
            raise ConfigError(
                f"`{path}._target_` must be a class from one of {', '.join(packages)}, got {node['_target_']!r}, "
                f"which is {origin}."
            )
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
    """The object that `config[group]` describes.

    Raises:
        ConfigError: If its class refuses a value, or a file that it needs is missing.
    """
    try:
        return instantiate(config[group], _convert_="all")
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, ValueError | TypeError | OSError):
            words = " ".join(str(cause).split())
            raise ConfigError(words if words.startswith(f"`{group}.") else f"{group}: {words}") from error
        raise


def _nodes(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (dotted path, dictionary) for each one that has a `_target_`, at any depth."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, Mapping) and "_target_" in value:
        yield path, value
    for key, item in items:
        yield from _nodes(item, f"{path}.{key}" if path else str(key))


def _resolve(path: str, name: str) -> Any:
    try:
        return get_object(name)
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ConfigError(f"`{path}._target_` must name a class, got {name!r}: {reason}") from error


def _keywords(target: type) -> tuple[list[str], bool]:
    """The keyword arguments of a class, and of those classes that it hands its `**` on to: (names, whether any will do)."""
    names: list[str] = []
    for base in target.__mro__:
        if "__init__" in vars(base) and base is not object:
            parameters = inspect.signature(base).parameters.values()
            own = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
            names += [name for name in own if name not in ("self", *names)]
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                return names, False
    return names, any(p.kind is p.VAR_KEYWORD for p in inspect.signature(target).parameters.values())


def _check_options(path: str, node: Mapping[str, Any], target: type) -> None:
    """Holds the keys of a dictionary against the keyword arguments of its class."""
    parameters = inspect.signature(target).parameters
    names = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    known, takes_any = _keywords(target)
    for key in node.keys() - _FOR_HYDRA:
        if key not in known and not takes_any:
            raise ConfigError(f"`{path}.{key}` is not an option. {target.__name__} has {', '.join(known) or 'none'}.")
    if node.get("_partial_"):
        return
    missing = [n for n in names if parameters[n].default is inspect.Parameter.empty and n not in node]
    if missing:
        raise ConfigError(f"`{path}.{missing[0]}` must be given for {target.__name__}.")
