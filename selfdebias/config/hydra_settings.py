"""What a configuration may make Hydra itself import, run or write.

Hydra instantiates callbacks, launcher and sweeper, configures logging and sets environment variables from the composed
configuration, before the job itself begins. A folder of YAML files that somebody else wrote may say anything there, so what it
may say stands here, and is checked before Hydra sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.targets import plugin_packages

OURS = "selfdebias.jobs.sweeps.launching.StartOfSweep"
CALLBACKS = (
    OURS,
    "hydra.experimental.callbacks.LogJobReturnCallback",
    "hydra.experimental.callbacks.PickleJobInfoCallback",
)
SAMPLERS = re.compile(r"optuna\.samplers\.\w+")  # that a sweeper of Optuna may hold
LOG_CLASSES = ("logging.StreamHandler", "logging.NullHandler", "logging.FileHandler")
LOG_FILE = "${hydra.runtime.output_dir}/${hydra.job.name}.log"  # the one of Hydra's own hydra/job_logging=default
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
FORMATTERS = ("colorlog.ColoredFormatter",)
VARIABLES = re.compile(
    r"CUDA_VISIBLE_DEVICES|(OMP|MKL|OPENBLAS|NUMEXPR)_NUM_THREADS|TOKENIZERS_PARALLELISM|HF_(HOME|HUB_OFFLINE|HUB_CACHE|ENDPOINT)"
    r"|WANDB_\w+|NCCL_\w+|GLOO_SOCKET_IFNAME|PYTORCH_CUDA_ALLOC_CONF|TORCH_NUM_THREADS"
)
COMMANDS = ("setup", "python", "srun_args", "additional_parameters")  # of a launcher: run as commands
PLACES = ("run", "sweep", "output_subdir")  # where results go, which is said by another key


def check_hydra(settings: Mapping[str, Any], given: Sequence[str]) -> None:
    """Checks Hydra's own section of a composed configuration.

    Args:
        settings: The section `hydra`, with its interpolations unresolved.
        given: The overrides of the command line, which may say more than a file.

    Raises:
        ConfigError: With the first value that no configuration may have.
    """
    typed = {text.lstrip("+~").partition("=")[0] for text in given}
    for name, callback in (settings.get("callbacks") or {}).items():
        _check_class(f"hydra.callbacks.{name}", callback, (*CALLBACKS, *_of_plugins(callback)))
    for kind in ("launcher", "sweeper"):
        _check_plugin(kind, settings.get(kind) or {})
    launcher = settings.get("launcher") or {}
    for key in COMMANDS:
        if launcher.get(key) and not any(it.startswith(f"hydra.launcher.{key}") for it in typed):
            raise ConfigError(
                f"`hydra.launcher.{key}` runs commands, so it must be given on the command line, not in a file."
            )
    for name in ("job_logging", "hydra_logging"):
        _check_logging(f"hydra.{name}", settings.get(name) or {})
    for variable in (settings.get("job") or {}).get("env_set") or {}:
        if not VARIABLES.fullmatch(str(variable)):
            raise refuse("hydra.job.env_set", "variables of threads, GPUs, W&B or the model hub", str(variable))
    if str(settings.get("searchpath")) != "[]" and "hydra.searchpath" not in typed:
        raise ConfigError("`hydra.searchpath` must be given on the command line, not in a file.")


def check_given(given: Sequence[str]) -> None:
    """Refuses settings of Hydra's on the command line that mean nothing here.

    Raises:
        ConfigError: With the key to take in its place.
    """
    for text in given:
        key = text.lstrip("+~").partition("=")[0]
        if key.split(".")[1:2] and key.split(".")[1] in PLACES:
            raise ConfigError(f"`{key}` cannot be set: `paths.root` says where results go.")


def _check_plugin(kind: str, settings: Mapping[str, Any]) -> None:
    """A launcher or sweeper must be one that is installed as a plug-in of Hydra's."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.launcher import Launcher
    from hydra.plugins.sweeper import Sweeper

    base: type = Launcher if kind == "launcher" else Sweeper
    installed = [f"{it.__module__}.{it.__qualname__}" for it in Plugins.instance().discover(base)]
    _check_class(f"hydra.{kind}", settings, installed)
    for path, node in _nodes(f"hydra.{kind}", settings):
        if node is not settings and "_target_" in node and not SAMPLERS.fullmatch(str(node["_target_"])):
            raise refuse(f"{path}._target_", "a sampler of Optuna", node["_target_"])


def _check_class(path: str, settings: Any, allowed: Sequence[str]) -> None:
    name = settings.get("_target_") if isinstance(settings, Mapping) else None
    if name not in allowed:
        raise refuse(f"{path}._target_", f"one of {', '.join(sorted(allowed))}", name)


def _check_logging(path: str, settings: Mapping[str, Any]) -> None:
    """`logging.config.dictConfig` imports and calls what `class`, `()` and `ext://` name."""
    for where, node in _nodes(path, settings):
        for key, value in node.items():
            if key in ("class", "_target_") and value not in LOG_CLASSES:
                raise refuse(f"{where}.{key}", f"one of {', '.join(LOG_CLASSES)}", value)
            if key == "()" and value not in FORMATTERS:
                raise refuse(f"{where}.()", f"one of {', '.join(FORMATTERS)}", value)
            if key == "filename" and value != LOG_FILE:
                raise refuse(f"{where}.filename", f"'{LOG_FILE}'", value)
            if isinstance(value, str) and "://" in value and value not in STREAMS:
                raise refuse(f"{where}.{key}", f"one of {', '.join(STREAMS)}", value)


def _nodes(path: str, node: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each mapping of a nested configuration, with its path."""
    if isinstance(node, Mapping):
        yield path, node
        for key, value in node.items():
            yield from _nodes(f"{path}.{key}", value)
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _nodes(f"{path}[{place}]", value)


def _of_plugins(callback: Any) -> list[str]:
    """The name of a callback, where its package is registered as a plug-in of this project."""
    name = str(callback.get("_target_")) if isinstance(callback, Mapping) else ""
    return [name] if name.split(".")[0] in plugin_packages() else []
