"""Hydra's launchers: which there are, and how jobs are handed to one."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from selfdebias.config.hydra_settings import compose_checked
from selfdebias.config.overrides import options_of, parse
from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.sources import Sources, read_option

BASIC = "basic"  # Hydra's launcher that runs the jobs one after the other in this process
LOCAL = "submitit_local"  # in processes of this computer, all at once
SLURM = "submitit_slurm"  # jobs of a Slurm cluster, with the plugin's own values
PLUGIN = "hydra_plugins.hydra_submitit_launcher"


def launchers_in_words() -> str:
    """Which launchers there are, and the values of the presets, for `--help`: from files alone, without the plugins."""
    known = ", ".join(sorted({BASIC, "joblib", LOCAL, SLURM, *_presets()}))
    keys = ", ".join(read_option("hydra/launcher", "slurm_gpu"))
    lines = [
        textwrap.fill(text, 80, initial_indent="  ", subsequent_indent=" " * 13)
        for text in (f"launchers  {known}", f"values     hydra.launcher.<key>=..., of slurm_gpu: {keys}")
    ]
    return "\n".join(["Launchers of a sweep, -m hydra/launcher=... (extras: [slurm], [joblib]):", *lines])


def _presets() -> list[str]:
    return options_of("hydra/launcher", Sources().folders)


def check_launcher(settings: Sequence[str], sources: Sources) -> None:
    """Refuses a launcher that is not there or cannot start here, and a value that it does not have.

    Args:
        settings: Overrides of Hydra's own settings.
        sources: Where the configuration is composed from.

    Raises:
        ConfigError: With one line about the first of them.
    """
    for override in parse(settings, sweep=True):
        if override.is_sweep_override():
            raise refuse(
                override.key_or_group,
                "one launcher" if "/" in override.key_or_group else "one value",
                override.input_line,
            )
    launcher = _chosen("launcher", settings, BASIC)
    if (launcher.startswith("submitit_") or launcher in _presets()) and not _is_there(PLUGIN, "submitit"):
        raise ConfigError(f"`hydra/launcher` {launcher} needs an extra: pip install 'selfdebias[slurm]'")
    if launcher == "joblib" and not _is_there("hydra_plugins.hydra_joblib_launcher", "joblib"):
        raise ConfigError("`hydra/launcher` joblib needs an extra: pip install 'selfdebias[joblib]'")
    sweeper = _chosen("sweeper", settings, BASIC)
    if sweeper == "search" and not _is_there("optuna"):
        raise ConfigError("`hydra/sweeper` search needs an extra: pip install 'selfdebias[search]'")
    for kind, name in (("launcher", launcher), ("sweeper", sweeper)):
        known = _options(kind, sources)
        if name not in known:
            raise ConfigError(f"`hydra/{kind}` must be one of {', '.join(known)}, got {name}.")
    _check_keys(settings, sources, launcher)
    found = _composed(settings, sources)
    missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]  # submitit looks for the second
    if str(found["launcher"]["_target_"]).endswith(".SlurmLauncher") and missing:
        raise ConfigError(
            f"`hydra/launcher` {launcher} needs `{missing[0]}` on the PATH: start the sweep on a computer of the cluster."
        )


def _chosen(kind: str, settings: Sequence[str], default: str) -> str:
    asked = [text.partition("=")[2] for text in settings if text.lstrip("+").startswith(f"hydra/{kind}=")]
    return asked[-1] if asked else default


def _options(kind: str, sources: Sources) -> list[str]:
    """The options of a group of Hydra's: those of installed plug-ins, and of files."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()  # which registers what is installed
    stored = {name.removesuffix(".yaml") for name in ConfigStore.instance().list(f"hydra/{kind}")}
    return sorted(stored | set(options_of(f"hydra/{kind}", sources.folders)))


def _is_there(*modules: str) -> bool:
    try:
        return all(find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:  # there is no `hydra_plugins` at all
        return False


def _check_keys(settings: Sequence[str], sources: Sources, launcher: str) -> None:
    """Refuses a key that the launcher does not have, also with a plus, which Hydra takes and the launcher does not."""
    groups = [text for text in settings if "/" in text.partition("=")[0]]
    known = {name: [str(key) for key in it if key != "_target_"] for name, it in _composed(groups, sources).items()}
    for override in parse(settings, sweep=True):
        section, _, key = override.key_or_group.removeprefix("hydra.").partition(".")
        if section not in known or key.partition(".")[0] in known[section]:
            continue
        of = f"hydra/launcher {launcher}" if section == "launcher" else f"hydra.{section}"
        hint = f"{of} has {', '.join(known[section]) or 'none'}."
        for near in difflib.get_close_matches(key, known[section], n=1):
            hint = f"Did you mean `hydra.{section}.{near}`?"
        raise ConfigError(f"`{override.key_or_group}` is not an option. {hint}")


def _composed(settings: Sequence[str], sources: Sources) -> dict[str, dict[str, Any]]:
    """Launcher, sweeper and job of Hydra's own section, as the settings make them.

    Raises:
        ConfigError: If a setting has a wrong value.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        config = compose_checked(sources, settings)
        found: dict[str, Any] = {
            name: OmegaConf.to_container(config.hydra[name]) for name in ("launcher", "sweeper", "job")
        }
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        lines = [str(it).splitlines()[0] for it in (error, error.__cause__) if str(it or "")]
        raise ConfigError(
            f"`hydra/launcher` {_chosen('launcher', settings, BASIC)} cannot be set up: {': '.join(lines)}."
        ) from None
    return {name: {str(key): value for key, value in dict(it or {}).items()} for name, it in found.items()}


def is_lost_job(error: Exception) -> bool:
    """Whether an error is about a job that was handed over, and not about handing them over."""
    submitit = sys.modules.get("submitit.core.utils")  # there if one of its launchers was at work
    if submitit is None or not isinstance(error, submitit.UncompletedJobError):
        return False
    return error.__cause__ is None  # where it was the command which hands over that failed, this is its error


@contextmanager
def cores_shared(jobs: int) -> Iterator[None]:
    """Gives each of several processes its share of the cores, unless the environment says how many threads to use."""
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
