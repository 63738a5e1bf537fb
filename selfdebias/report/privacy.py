"""What of a job may leave this computer: whether W&B gets it, and which parts of its configuration, without secrets and paths.

Paths are cut down to their last part; names of hubs stay.
"""

from __future__ import annotations

import inspect
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfdebias.config.ranges import WANDB_MODES as MODES
from selfdebias.config.rules import ConfigError
from selfdebias.storage.hidden import redacted

# Parts of a job's configuration that say what was done; paths, logger and trainer say where.
# Named one by one: what is added to the configuration later stays here until somebody names it.
ALLOWED = (
    "model", "encoder", "projector", "clustering", "bank", "vocabulary", "guidance", "schedule", "prompts", "judge", "metrics",
    "stages", "collect", "discover", "project", "generate", "evaluate", "report",
)  # fmt: skip
PATHS = ("labelled", "folders", "reference", "modes", "weights", "folder")  # options that hold paths alone
NAMES = (
    "pretrained",
    "config",
    "path",
    "encoder_id",
    "model",
    "encoder",
)  # a path, or a name, perhaps with @fingerprint
TEXTS = ("text", "texts", "subjects", "templates", "attributes", "negative_prompt", "reason")  # that hold words
_FAR = re.compile(r"(/|~|\.{1,2}[/\\]|[A-Za-z]:[\\/]|\\\\|file:)")

# What `wandb.init` is to be given, so that the command line, the user's and the computer's names, the code and the
# terminal's output stay here. `conf/logger/wandb.yaml` holds the same.
PRIVATE_SETTINGS: dict[str, Any] = {
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "disable_git": True,
    "disable_code": True,
    "disable_job_creation": True,
    "save_code": False,
    "console": "off",
    "host": "hidden",
    "silent": True,
}
ALIASES = {"dryrun": "offline", "run": "online"}  # of WANDB_MODE


def mode_of(logger: Mapping[str, Any]) -> str:
    """What the configuration asks for; the environment's WANDB_MODE can only make it more private.

    Args:
        logger: The options `logger.wandb`.

    Returns:
        One of `MODES`.
    """
    around = os.environ.get("WANDB_MODE", "")
    around = ALIASES.get(around, around)
    return min(logger.get("mode", "online"), around if around in MODES else "online", key=MODES.index)


def check_wandb(logger: Mapping[str, Any]) -> None:
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
            raise ConfigError(f"`logger.wandb.settings.{key}` is not an option. logger.wandb.settings has {words}.")
    for key in logger:
        if key not in known and key != "_target_":
            raise ConfigError(
                f"`logger.wandb.{key}` is not an option. W&B has {', '.join(inspect.signature(wandb.init).parameters)}."
            )


def allowed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a job's resolved configuration that may leave the machine: redacted, with paths cut to their last part.

    >>> allowed({"paths": {"root": "/home/me"}, "evaluate": {"seed": 1, "labelled": "/home/me/labels"}})
    {'evaluate': {'seed': 1, 'labelled': 'labels'}}
    """
    return {key: without_places(redacted(config[key]), key) for key in ALLOWED if key in config}


def without_places(value: Any, option: str = "") -> Any:
    """A copy of a part of the configuration in which each path is its last part.

    Args:
        value: A value, a list of values, or a dictionary of options.
        option: The option that holds it.

    >>> without_places({"evaluate": {"labelled": "data/of me/labels", "folders": {"peer": "/home/me/out/peer/"}}})
    {'evaluate': {'labelled': 'labels', 'folders': {'peer': 'peer'}}}
    >>> without_places({"pretrained": "openai/clip-vit-base-patch32", "prompts": {"text": "/imagine a cat"}})
    {'pretrained': 'openai/clip-vit-base-patch32', 'prompts': {'text': '/imagine a cat'}}
    """
    if isinstance(value, Mapping):
        return {key: without_places(item, option if option in PATHS else str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [without_places(item, option) for item in value]
    if not isinstance(value, str) or option in TEXTS:
        return value
    is_path = option in PATHS or bool(_FAR.match(value)) or (option in NAMES and Path(value.partition("@")[0]).exists())
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if is_path else value


@contextmanager
def nameless(job: Path, save_dir: str | None) -> Iterator[Path]:
    """Keeps paths of this computer out of W&B's folder: a path to the job that says nothing of where it is.

    W&B writes absolute paths of the files that it is to send into its run. Here they go through a link in the system's folder of
    temporary files, which stays, since `wandb sync` reads them later.

    Args:
        job: The job's folder.
        save_dir: The folder of `wandb/`, where the configuration names one; None for the job's own.

    Yields:
        The job's folder, to be used in the body.
    """
    place, before = Path(tempfile.mkdtemp(prefix="selfdebias-")) / "job", os.environ.get("WANDB_DATA_DIR")
    place.symlink_to(job.resolve())
    os.environ["WANDB_DATA_DIR"] = str(place / "wandb")
    try:
        yield place
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
        else:
            os.environ["WANDB_DATA_DIR"] = before
        for path in Path(save_dir or place, "wandb").rglob("*"):
            if path.is_symlink() and os.path.isabs(path.readlink()):  # to W&B's own log, in the home folder
                path.unlink()
