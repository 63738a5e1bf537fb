"""Which W&B run a finished job is logged to, if to any: online, offline or not at all, and each job once."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.config.ranges import WANDB_MODES as MODES
from selfdebias.config.rules import ConfigError
from selfdebias.config.targets import make
from selfdebias.report.privacy import PRIVATE_SETTINGS
from selfdebias.report.wording import plain
from selfdebias.storage.atomic import append_line, read_lines
from selfdebias.storage.hidden import hidden, redacted_command

ALIASES = {"dryrun": "offline", "run": "online"}
MARK = "logged.jsonl"


def mode_of(logger: Mapping[str, Any]) -> str:
    """What the configuration asks for; the environment's WANDB_MODE can only make it more private.

    Args:
        logger: The group's configuration.

    Returns:
        One of `MODES`; disabled for any other logger.
    """
    if not str(logger["_target_"]).endswith(".WandbLogger"):
        return "disabled"
    around = os.environ.get("WANDB_MODE", "")
    around = ALIASES.get(around, around)
    return min(logger.get("mode", "online"), around if around in MODES else "online", key=MODES.index)


def check_logger(logger: Mapping[str, Any]) -> None:
    """Refuses options that W&B does not know, which it would say only once the job is done.

    Raises:
        ConfigError: With the first of them.
    """
    if mode_of(logger) == "disabled":
        return
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    known = {**inspect.signature(WandbLogger).parameters, **inspect.signature(wandb.init).parameters}
    for key in logger.get("settings") or {}:
        if key not in PRIVATE_SETTINGS and key != "init_timeout":
            words = ", ".join([*PRIVATE_SETTINGS, "init_timeout"])
            raise ConfigError(f"`logger.settings.{key}` is not an option. logger.settings has {words}.")
    for key in logger:
        if key not in known and key != "_target_":
            raise ConfigError(
                f"`logger.{key}` is not an option. W&B has {', '.join(inspect.signature(wandb.init).parameters)}."
            )


def make_logger(logger: Mapping[str, Any], job: Path, group: str = "") -> Any:
    """The job's logger.

    Args:
        logger: The group's configuration.
        job: Folder of the job, where a logger without a folder of its own writes.
        group: The sweep that the job is part of, where the configuration names no group.

    Returns:
        A `WandbLogger`, whose run is not open yet; None where nothing is to be logged.
    """
    mode = mode_of(logger)
    if mode == "disabled":
        return None
    options = {
        "save_dir": logger.get("save_dir") or str(job),
        "group": logger.get("group") or group or None,
        "mode": mode,
    }
    return make({"logger": {**hidden(dict(logger)), **options}}, "logger")


def open_run(logger: Any) -> Any:
    """The open run of a `WandbLogger`; None for any other logger, or where W&B is not reached, which is said."""
    from pytorch_lightning.loggers import WandbLogger

    if not isinstance(logger, WandbLogger):
        return None
    import wandb

    logger._wandb_init.pop("anonymous", None)  # Lightning always hands it on, and W&B warns of it whatever its value
    try:
        return logger.experiment
    except (wandb.Error, OSError) as error:
        reason = plain(redacted_command(str(error).splitlines()[0] if str(error) else type(error).__name__))
        print(
            f"selfdebias: W&B was not reached ({reason}): nothing was logged there, all results are here.",
            file=sys.stderr,
        )
        return None


def is_logged(job: Path, logger: Mapping[str, Any]) -> bool:
    """Whether the finished job was logged before: to the run that an agent asks for, or online where it is to be."""
    asked, mode = os.environ.get("WANDB_RUN_ID"), mode_of(logger)
    runs = [line for line in read_lines(Path(job) / MARK) if asked in (None, "", line["run"])]
    return any(MODES.index(line["mode"]) >= MODES.index(mode) for line in runs)


def mark_logged(job: Path, run: str, mode: str) -> None:
    """Notes that a job was logged, so that the same command does not log it again."""
    append_line(Path(job) / MARK, {"run": run, "mode": mode})
