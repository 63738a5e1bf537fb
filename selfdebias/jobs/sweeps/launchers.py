"""Hydra's launchers: which there are, and how jobs are handed to one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from selfdebias.config.compose import settings_of_hydra
from selfdebias.config.hydra_settings import START
from selfdebias.config.overrides import options_of
from selfdebias.config.rules import ConfigError
from selfdebias.config.sources import Sources, read_option

BASIC = "basic"  # Hydra's launcher that runs the jobs one after the other in this process
LOCAL = "submitit_local"  # in processes of this computer, all at once
SLURM = "submitit_slurm"  # jobs of a Slurm cluster, with the plugin's own values
MODULES = {  # that each extra brings, for the launchers of submitit and for those of its own name
    "slurm": ("hydra_plugins.hydra_submitit_launcher", "submitit"),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "search": ("optuna",),
}


def launchers_in_words() -> dict[str, str]:
    """Which launchers there are, and the values of the presets, for `--help`: from files alone, without the plugins."""
    keys = ", ".join(read_option("hydra/launcher", "slurm_gpu"))
    return {
        "launchers": ", ".join(sorted({BASIC, "joblib", LOCAL, SLURM, *_presets()})),
        "values": f"hydra.launcher.<key>=..., of slurm_gpu: {keys}",
    }


def _presets() -> list[str]:
    return options_of("hydra/launcher", Sources().folders)


def check_launcher(overrides: Sequence[str], sources: Sources) -> None:
    """Refuses what Hydra's own section cannot be, first of all a launcher or sweeper that is not there or cannot start here.

    Args:
        overrides: The command line.
        sources: Where the configuration is composed from.

    Raises:
        ConfigError: With one line about the first of them.
    """
    given = dict(text.lstrip("+").partition("=")[::2] for text in overrides)
    launcher, sweeper = given.get("hydra/launcher", BASIC), given.get("hydra/sweeper", BASIC)
    for kind, name in (("launcher", launcher), ("sweeper", sweeper)):
        extra = "slurm" if name in (LOCAL, SLURM, *_presets()) else name
        if not all(map(find_spec, MODULES.get(extra, ()))):
            raise ConfigError(f"`hydra/{kind}` {name} needs an extra: pip install 'selfdebias[{extra}]'")
    found = settings_of_hydra(overrides, sources)
    missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]  # submitit looks for the second
    if str(found["launcher"]["_target_"]).endswith(".SlurmLauncher") and missing:
        raise ConfigError(
            f"`hydra/launcher` {launcher} needs `{missing[0]}` on the PATH: start the sweep on a computer of the cluster."
        )
    if START not in [str(it.get("_target_")) for it in (found["callbacks"] or {}).values()]:
        raise ConfigError("`hydra.callbacks` must keep the entry `sweep` of config.yaml, which checks the jobs.")


def is_lost_job(error: BaseException) -> bool:
    """Whether an error is about a job that was handed over, and not about handing them over."""
    submitit = sys.modules.get("submitit.core.utils")  # there if one of its launchers was at work
    if submitit is None or not isinstance(error, submitit.UncompletedJobError):
        return False
    return error.__cause__ is None  # where it was the command which hands over that failed, this is its error


def share_cores(jobs: int) -> None:
    """Gives each of several processes that this one starts its share of the cores, unless it is set how many threads to use."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
