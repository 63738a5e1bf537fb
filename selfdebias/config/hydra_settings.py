"""What a configuration may make Hydra itself import, run or write.

Hydra instantiates callbacks, launcher and sweeper, configures logging and sets environment variables from the composed
configuration, before the job itself begins. A folder of YAML files that somebody else wrote may say anything there, so what it
may say stands here, and is checked before Hydra sees it. Whoever types a command may say more than a file: see `check_files`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.sources import Sources, composed_by_hydra
from selfdebias.config.targets import plugin_packages

START = "selfdebias.jobs.sweeps.launching.StartOfSweep"  # of config.yaml, which checks the jobs of a sweep
CALLBACKS = (
    START,
    "hydra.experimental.callbacks.LogJobReturnCallback",
    "hydra.experimental.callbacks.PickleJobInfoCallback",
)
SAMPLERS = re.compile(r"optuna\.samplers\.[A-Z]\w*Sampler")  # that a sweeper of Optuna may hold
LOG_FILE = "${hydra.runtime.output_dir}/${hydra.job.name}.log"  # the one of Hydra's own hydra/job_logging=default
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
VARIABLES = re.compile(  # that change how fast a job is, and never what is loaded or to whom something is sent
    r"CUDA_VISIBLE_DEVICES|(OMP|MKL|OPENBLAS|NUMEXPR|TORCH)_NUM_THREADS|TOKENIZERS_PARALLELISM|HF_HUB_OFFLINE"
    r"|WANDB_(MODE|SILENT)|NCCL_(DEBUG|SOCKET_IFNAME|(IB|P2P|SHM)_DISABLE)|GLOO_SOCKET_IFNAME|PYTORCH_CUDA_ALLOC_CONF"
)
PLACES = ("run", "sweep", "output_subdir")  # where results go, which is said by another key

Rules = Mapping[str, tuple[str, ...] | None]
# The keys that `logging.config.dictConfig` may find, with the values of those that it imports, calls or opens.
FORMATTER: Rules = {"format": None, "datefmt": None, "()": ("colorlog.ColoredFormatter",), "log_colors": None}
HANDLER: Rules = {
    "class": ("logging.StreamHandler", "logging.NullHandler", "logging.FileHandler"),
    "filename": (LOG_FILE,),
    "stream": STREAMS,
    "formatter": None,
    "level": None,
}
LOGGER: Rules = {"level": None, "handlers": None, "propagate": None}
LOGGING: Rules = dict.fromkeys(("version", "root", "disable_existing_loggers", "formatters", "handlers", "loggers"))

# What a file may set of Hydra's own section: all of these, and of the rest what stands there.
FREE = (
    "callbacks", "launcher", "sweeper", "job_logging", "hydra_logging", "help", "hydra_help", "runtime", "searchpath",
)  # fmt: skip
FIXED: Mapping[str, tuple[Any, ...]] = {
    "mode": (None,),
    "run": ({"dir": "."},),
    "sweep": ({"dir": "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}", "subdir": "${hydra.job.num}"},),
    "output_subdir": (None,),
    "env": ({},),
    "job.chdir": (None, False),
    "job.env_copy": ([],),
}
# Of a launcher or sweeper: what runs as a command, imports a function or names a place.
OF_PLUGINS: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("setup", "python", "srun_args", "temp_folder", "custom_search_space", "storage"), (None,)),
    "additional_parameters": ({},),
    "submitit_folder": ("${hydra.sweep.dir}/.submitit/%j",),
    "pre_dispatch": ("2*n_jobs", "all"),
}


def compose_checked(sources: Sources, overrides: Sequence[str]) -> DictConfig:
    """Composes as Hydra does, and checks what Hydra's own section says.

    Args:
        sources: Where the files are.
        overrides: Choices of groups, and Hydra's own settings.

    Raises:
        ConfigError: With the first value of Hydra's own section that may not be there.
    """
    typed = [text for text in overrides if text.lstrip("+~").startswith("hydra.")]
    by_files = [text for text in overrides if text not in typed]
    config = composed_by_hydra(sources, by_files)
    settings: Any = OmegaConf.to_container(config.hydra, resolve=False)
    check_hydra(settings)
    check_files(settings, by_files)
    if typed:
        config = composed_by_hydra(sources, [*by_files, *typed])
        check_hydra(cast(Any, OmegaConf.to_container(config.hydra, resolve=False)))
    return config


def refused_setting(error: Exception, sources: Sources, overrides: Sequence[str]) -> str:
    """What Hydra says of an option or a key of its own that is not there, as one line; "" where it speaks of another."""
    found = re.search(r"Could not (find|override) '([^']+)'", str(error))
    name = found[2] if found else ""
    if found and found[1] == "find" and "/" in name:  # on the command line, or in the defaults of a user's file
        group, _, option = name.rpartition("/")
        options = re.findall(r"^\t([\w.-]+)$", str(error), re.MULTILINE)
        return f"`{group}` must be one of {', '.join(options)}, got {option}."
    section, _, key = name.rpartition(".")
    if section.partition(".")[0] != "hydra":
        return ""
    config = composed_by_hydra(sources, [text for text in overrides if "/" in text.partition("=")[0]])
    known = [str(it) for it in OmegaConf.select(config, section) or () if it != "_target_"]
    near = difflib.get_close_matches(key, known, n=1)
    group = section.replace(".", "/")
    of = f"{group} {config.hydra.runtime.choices[group]}" if group in config.hydra.runtime.choices else section
    hint = f"Did you mean `{section}.{near[0]}`?" if near else f"{of} has {', '.join(known) or 'none'}."
    return f"`{name}` is not an option. {hint}"


def check_hydra(settings: Mapping[str, Any]) -> None:
    """Checks what Hydra would import or open, wherever it was said.

    Args:
        settings: The section `hydra` of a composed configuration, with its interpolations unresolved.

    Raises:
        ConfigError: With the first value that no configuration may have.
    """
    for name, callback in _mapping("hydra.callbacks", settings.get("callbacks")).items():
        path = f"hydra.callbacks.{name}"
        target = str(_mapping(path, callback).get("_target_"))
        of_plugin = target.split(".")[0] in plugin_packages()
        _check_class(path, callback, (*CALLBACKS, *([target] if of_plugin else [])))
        for place, value in _inside(path, callback):
            if not of_plugin or place.endswith("._target_") or not _is_plain(value):
                raise refuse(place, "left out" if not of_plugin else "a plain value", value)
    for kind in ("launcher", "sweeper"):
        _check_plugin(kind, _mapping(f"hydra.{kind}", settings.get(kind)))
    for name in ("job_logging", "hydra_logging"):
        if settings.get(name) is not None:
            _check_logging(f"hydra.{name}", _mapping(f"hydra.{name}", settings[name]))


def check_files(settings: Mapping[str, Any], given: Sequence[str]) -> None:
    """Checks what files alone say: a command, a place or a variable is for the command line.

    Args:
        settings: As in `check_hydra`, composed without the values of Hydra's own settings that were typed.
        given: The overrides that it was composed with.

    Raises:
        ConfigError: With the first value that no file may have.
    """
    job = _mapping("hydra.job", settings.get("job"))
    known = {*FREE, *(path.partition(".")[0] for path in FIXED), "job", "overrides", "verbose"}
    for key in settings.keys() - known:
        raise ConfigError(f"`hydra.{key}` is not an option. Hydra has {', '.join(sorted(known))}.")
    for path, allowed in FIXED.items():
        section, _, key = path.partition(".")
        value = (job if key else settings).get(key or section)
        if value not in allowed:
            raise ConfigError(f"`hydra.{path}` cannot be set in a file. {_way_out(section)}")
    told = _mapping("hydra.overrides", settings.get("overrides"))
    if sorted(it for texts in told.values() for it in texts or ()) != sorted(given):
        raise ConfigError("`hydra.overrides` cannot be set in a file: it is what the command line says.")
    if not re.fullmatch(r"[\w.-]+", str(job.get("name", "app"))) or str(job.get("name")).startswith("."):
        raise refuse("hydra.job.name", "letters, digits, '.', '_' and '-'", job["name"])
    for variable, value in _mapping("hydra.job.env_set", job.get("env_set")).items():
        if not VARIABLES.fullmatch(str(variable)) or not _is_plain(value):
            raise ConfigError(
                f"`hydra.job.env_set.{variable}` must be given on the command line: files set those of threads and GPUs alone."
            )
    verbose = settings.get("verbose")
    if not isinstance(verbose, bool | str) and not (isinstance(verbose, list) and all(map(_is_plain, verbose))):
        raise refuse("hydra.verbose", "true, false or a list of loggers", verbose)
    for kind in ("launcher", "sweeper"):
        _check_values_of_plugin(kind, settings[kind])


def _way_out(section: str) -> str:
    if section in PLACES:
        return "`paths.root` says where results go."
    return "A sweep is started with -m." if section == "mode" else "Give it on the command line."


def _check_plugin(kind: str, settings: Mapping[str, Any]) -> None:
    """A launcher or sweeper must be one that is installed as a plug-in of Hydra's."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.launcher import Launcher
    from hydra.plugins.sweeper import Sweeper

    base: type = Launcher if kind == "launcher" else Sweeper
    installed = [f"{it.__module__}.{it.__qualname__}" for it in Plugins.instance().discover(base)]
    _check_class(f"hydra.{kind}", settings, installed)
    for path, value in _inside(f"hydra.{kind}", settings):
        if path.endswith("._target_") and not SAMPLERS.fullmatch(str(value)):
            raise refuse(path, "a sampler of Optuna", value)


def _check_values_of_plugin(kind: str, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if key in OF_PLUGINS and (value or None) not in [it or None for it in OF_PLUGINS[key]]:
            raise ConfigError(
                f"`hydra.{kind}.{key}` runs code or names a place: give it on the command line, not in a file."
            )
        for path, it in _inside(f"hydra.{kind}", {key: value}) if key not in OF_PLUGINS else ():
            if not _is_plain(it) and it != "${hydra.job.name}":
                raise refuse(path, "one line without ${...} in a file", it)
    for key in (settings.get("params") or {}) if kind == "sweeper" else ():
        if re.search(r"hydra|[^\w./@:+~-]", str(key)):
            raise ConfigError(f"`hydra.sweeper.params.{key}` must be a key of a job.")


def _check_class(path: str, settings: Any, allowed: Sequence[str]) -> None:
    name = settings.get("_target_") if isinstance(settings, Mapping) else None
    if name not in allowed:
        raise refuse(f"{path}._target_", f"one of {', '.join(sorted(allowed))}", name)


def _check_logging(path: str, settings: Mapping[str, Any]) -> None:
    """`logging.config.dictConfig` imports and calls what `class`, `()` and `ext://` name."""
    tables = [(path, settings, LOGGING), (f"{path}.root", _mapping(f"{path}.root", settings.get("root")), LOGGER)]
    for section, keys in (("formatters", FORMATTER), ("handlers", HANDLER), ("loggers", LOGGER)):
        for name, it in _mapping(f"{path}.{section}", settings.get(section)).items():
            tables.append((f"{path}.{section}.{name}", _mapping(f"{path}.{section}.{name}", it), keys))
    for where, table, keys in tables:
        for key, value in table.items():
            if key not in keys:
                raise ConfigError(f"`{where}.{key}` is not an option. It has {', '.join(keys)}.")
            names = keys[key]
            if names is not None and value not in names:
                raise refuse(f"{where}.{key}", f"one of {', '.join(names)}", value)
            for place, it in _inside(where, {key: value}) if names is None and keys is not LOGGING else ():
                if not _is_plain(it) or "://" in str(it):
                    raise refuse(place, "a plain value", it)


def _inside(path: str, value: Any, top: bool = True) -> Iterator[tuple[str, Any]]:
    """Each plain value of a nested one, with its path; without the name of the class that it is."""
    for key, it in value.items() if isinstance(value, Mapping) else enumerate(value):
        if isinstance(it, Mapping | list):
            yield from _inside(f"{path}.{key}", it, False)
        elif not top or key != "_target_":
            yield f"{path}.{key}", it


def _is_plain(value: Any) -> bool:
    """Whether it is one line that stands for itself."""
    return not isinstance(value, str) or (value.isprintable() and "${" not in value)


def _mapping(path: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise refuse(path, "a dictionary", value)
    return value
