"""Hydra's launchers: which there are, and how jobs are handed to one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selfdebias import config as configuration
from selfdebias.overrides import HYDRA
from selfdebias.rules import ConfigError, refuse

SETTINGS = ("hydra/launcher", "hydra.launcher.", "hydra.job.", "hydra.verbose")  # those of Hydra's that a user may set
BASIC = "basic"  # Hydra's launcher that runs the jobs one after the other in this process
LOCAL = "submitit_local"  # in processes of this computer, all at once
PLUGIN = "hydra_plugins.hydra_submitit_launcher"


def settings_of(overrides: Sequence[str]) -> list[str]:
    """Hydra's own settings among the overrides."""
    found = [text for text in overrides if text.lstrip("+~").startswith(HYDRA)]
    for text in found:
        key, _, value = text.lstrip("+~").partition("=")
        if not key.startswith(SETTINGS):
            raise ConfigError(f"`{key}` cannot be set here; of Hydra's own settings hydra/launcher and hydra.job can.")
        if key == "hydra/launcher" and "," in value:
            raise refuse(key, "one launcher", value)
    return found


def launcher_of(settings: Sequence[str]) -> str:
    """The launcher that was asked for, if it is there.

    Raises:
        ConfigError: If it is unknown, or needs an extra that is not installed.
    """
    asked = [text.partition("=")[2] for text in settings if text.lstrip("+").startswith("hydra/launcher=")]
    launcher = asked[-1] if asked else BASIC
    own = sorted(file.stem for file in (configuration.conf_folder() / "hydra" / "launcher").glob("*.yaml"))
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


def hand_over(path: Path, settings: Sequence[str], jobs: list[list[str]], task: Any) -> Sequence[Any]:
    """Hands the jobs to Hydra's launcher, which returns once all of them have ended."""
    from hydra import initialize_config_dir
    from hydra._internal.callbacks import Callbacks
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode

    place = str(path).replace("\\", "\\\\").replace("'", "\\'")
    own = [*settings, f"hydra.sweep.dir='{place}'"]
    with initialize_config_dir(str(configuration.conf_folder()), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("config", own, run_mode=RunMode.MULTIRUN, from_shell=False)
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
