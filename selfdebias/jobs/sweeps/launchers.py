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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.config import compose as configuration
from selfdebias.config.overrides import HYDRA, check_setting, options_of, parse
from selfdebias.config.rules import ConfigError, refuse

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from omegaconf import DictConfig

BASIC = "basic"  # Hydra's launcher that runs the jobs one after the other in this process
LOCAL = "submitit_local"  # in processes of this computer, all at once
SLURM = "submitit_slurm"  # jobs of a Slurm cluster, with the plugin's own values
PLUGIN = "hydra_plugins.hydra_submitit_launcher"


def settings_of(overrides: Sequence[str]) -> list[str]:
    """Hydra's own settings among the overrides."""
    found = [text for text in overrides if text.lstrip("+~").startswith(HYDRA)]
    for text in found:
        key, _, value = text.lstrip("+~").partition("=")
        check_setting(key)
        if key == "hydra/launcher" and "," in value:
            raise refuse(key, "one launcher", value)
    return found


def launchers_in_words() -> str:
    """Which launchers there are, and the values of the presets, for `--help`: from files alone, without the plugins."""
    known = ", ".join(sorted({BASIC, LOCAL, SLURM, *_presets()}))
    keys = ", ".join(configuration.read_option("hydra/launcher", "slurm_gpu"))
    lines = [
        textwrap.fill(text, 80, initial_indent="  ", subsequent_indent=" " * 13)
        for text in (f"launchers  {known}", f"values     hydra.launcher.<key>=..., of slurm_gpu: {keys}")
    ]
    return "\n".join(["Launchers of a sweep, -m hydra/launcher=... (extra: selfdebias[slurm]):", *lines])


def _presets() -> list[str]:
    return options_of(configuration.conf_folder() / "hydra" / "launcher")


def launcher_of(settings: Sequence[str]) -> str:
    """The launcher that was asked for, if it is there.

    Raises:
        ConfigError: If it is unknown, or needs an extra that is not installed.
    """
    asked = [text.partition("=")[2] for text in settings if text.lstrip("+").startswith("hydra/launcher=")]
    launcher = asked[-1] if asked else BASIC
    own = _presets()
    if (launcher.startswith("submitit_") or launcher in own) and not _plugin_is_there():
        raise ConfigError(f"`hydra/launcher` {launcher} needs an extra: pip install 'selfdebias[slurm]'")
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()  # which registers the launchers that are installed
    known = {name.removesuffix(".yaml") for name in ConfigStore.instance().list("hydra/launcher")} | set(own)
    if launcher not in known:
        raise ConfigError(f"`hydra/launcher` must be one of {', '.join(sorted(known))}, got {launcher}.")
    return launcher


def _plugin_is_there() -> bool:
    try:
        return find_spec(PLUGIN) is not None and find_spec("submitit") is not None
    except ModuleNotFoundError:  # there is no `hydra_plugins` at all
        return False


def check_settings(settings: Sequence[str], launcher: str) -> None:
    """Composes the settings of a launcher as `hand_over` does, and refuses one that cannot start here.

    Raises:
        ConfigError: If a setting is unknown or has a wrong value, or a launcher for Slurm finds no Slurm.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    _check_keys(settings, launcher)
    try:
        with _composed([*settings, "hydra.sweep.dir=."]) as (_, config):
            found = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        lines = [str(it).splitlines()[0] for it in (error, error.__cause__) if str(it or "")]
        raise ConfigError(f"`hydra/launcher` {launcher} cannot be set up: {': '.join(lines)}.") from None
    assert isinstance(found, dict)
    missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]  # submitit looks for the second
    if str(found["_target_"]).endswith(".SlurmLauncher") and missing:
        raise ConfigError(
            f"`hydra/launcher` {launcher} needs `{missing[0]}` on the PATH: start the sweep on a computer of the cluster."
        )


def _check_keys(settings: Sequence[str], launcher: str) -> None:
    """Refuses a key that the launcher does not have, also with a plus, which Hydra takes and the launcher does not."""
    with _composed([f"hydra/launcher={launcher}"]) as (_, config):
        known = {name: [str(key) for key in config.hydra[name] if key != "_target_"] for name in ("launcher", "job")}
    for override in parse(settings, sweep=True):
        if override.is_sweep_override():
            raise refuse(override.key_or_group, "one value", override.input_line)
        section, _, key = override.key_or_group.removeprefix("hydra.").partition(".")
        if section not in known or key.partition(".")[0] in known[section]:
            continue
        of = f"hydra/launcher {launcher}" if section == "launcher" else "hydra.job"
        hint = f"{of} has {', '.join(known[section]) or 'none'}."
        for near in difflib.get_close_matches(key, known[section], n=1):
            hint = f"Did you mean `hydra.{section}.{near}`?"
        raise ConfigError(f"`{override.key_or_group}` is not an option. {hint}")


@contextmanager
def _composed(overrides: Sequence[str]) -> Iterator[tuple[Hydra, DictConfig]]:
    """Hydra, and the configuration that it composes for a sweep."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    with initialize_config_dir(str(configuration.conf_folder()), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra, hydra.compose_config("config", [*overrides], run_mode=RunMode.MULTIRUN, from_shell=False)


def is_lost_job(error: Exception) -> bool:
    """Whether an error is about a job that was handed over, and not about handing them over."""
    submitit = sys.modules.get("submitit.core.utils")  # there if one of its launchers was at work
    if submitit is None or not isinstance(error, submitit.UncompletedJobError):
        return False
    return error.__cause__ is None  # where it was the command which hands over that failed, this is its error


def hand_over(path: Path, settings: Sequence[str], jobs: list[list[str]], task: Any) -> Sequence[Any]:
    """Hands the jobs to Hydra's launcher, which returns once all of them have ended."""
    from hydra._internal.callbacks import Callbacks
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext

    place = str(path).replace("\\", "\\\\").replace("'", "\\'")
    with _composed([*settings, f"hydra.sweep.dir='{place}'"]) as (hydra, config):
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
        launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
        return launcher.launch(jobs, initial_job_idx=0)


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
