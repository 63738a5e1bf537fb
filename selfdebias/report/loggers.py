"""The loggers of a job: W&B, CSV and TensorBoard by Lightning's classes. Each gets a finished job once, and no secret."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from selfdebias.config.ranges import WANDB_MODES as MODES
from selfdebias.config.rules import ConfigError
from selfdebias.config.targets import check_objects, make
from selfdebias.metrics.number import finite
from selfdebias.report.measures import flat_numbers
from selfdebias.report.privacy import allowed, check_wandb, mode_of, nameless, without_places
from selfdebias.report.wandb_log import log_job
from selfdebias.report.wording import plain
from selfdebias.storage.atomic import append_line, read_lines
from selfdebias.storage.hidden import hidden, redacted_command

MARK = "logged.jsonl"
WANDB, NONE = "wandb", "none"
TITLES = {WANDB: "W&B", "csv": "CSV", "tensorboard": "TensorBoard"}


def check_loggers(loggers: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses what a logger would refuse only once the job is done.

    Args:
        loggers: The section `logger` of the configuration: the options of each logger by its name.

    Raises:
        ConfigError: With the first option that a logger does not have, or the package that it needs.
    """
    check_objects({"logger": dict(loggers)})
    if WANDB in loggers:
        check_wandb(loggers[WANDB])
    if "tensorboard" in loggers:
        from pytorch_lightning.loggers import TensorBoardLogger

        if find_spec("tensorboard") is None:
            raise ConfigError("`logger` tensorboard needs an extra: pip install 'selfdebias[tensorboard]'")
        words = [it for it in inspect.signature(TensorBoardLogger).parameters if it != "kwargs"]
        for key in loggers["tensorboard"].keys() - {"_target_", *words}:
            raise ConfigError(f"`logger.tensorboard.{key}` is not an option. TensorBoard has {', '.join(words)}.")


def names_of(loggers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The names of the loggers that log anything."""
    return [name for name in loggers if name != NONE and (name != WANDB or mode_of(loggers[name]) != "disabled")]


def log_finished(
    job: Path,
    name: str,
    options: Mapping[str, Any],
    results: Mapping[str, Any],
    figures: Mapping[str, Image.Image | bytes],
    lines: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    group: str,
) -> None:
    """Gives a finished job to one logger, once.

    What goes wrong is said in one line and ends nothing: the job is done, and its results are in its folder.

    Args:
        job: The job's folder.
        name: Of the logger.
        options: The logger's, as the configuration has them.
        results: The contents of `results.json`.
        figures: By name, for W&B.
        lines: Those of `metrics.jsonl`.
        config: The job's resolved configuration.
        group: The sweep that it is part of, "" for none.
    """
    try:
        if is_logged(job, name, options):
            return
        if name == WANDB:
            with nameless(job, options.get("save_dir")) as place:
                logger = make_logger(name, options, place, group, config.get("tags", ()))
                run = log_job(logger, results, figures, lines, config, place if options.get("log_model") else None)
        else:
            run = log_numbers(make_logger(name, options, job), results, lines, config)
    except Exception as error:  # whatever a logger says, the job is done, and its results are here
        reason = plain(redacted_command(str(error).splitlines()[0] if str(error) else type(error).__name__))
        print(f"selfdebias: nothing was logged to {TITLES[name]} ({reason}); all results are here.", file=sys.stderr)
        return
    if run:
        mark_logged(job, run, mode_of(options) if name == WANDB else "offline", name)


def make_logger(name: str, options: Mapping[str, Any], job: Path, group: str = "", tags: Sequence[str] = ()) -> Any:
    """One logger of the job.

    Args:
        name: `wandb`, `csv` or `tensorboard`.
        options: As the configuration has them.
        job: Folder of the job, where a logger without a folder of its own writes; it is named after the job's hash.
        group: The sweep that the job is part of, where the options name no group.
        tags: Of the job, for W&B beside those of the options.

    Returns:
        A Lightning logger that has opened nothing yet; None for a W&B that is disabled.
    """
    save_dir = options.get("save_dir") or str(job)
    if name != WANDB:
        version = options.get("version") or (job.name if options.get("save_dir") else "")
        return make({"logger": {name: {**options, "save_dir": save_dir, "version": version}}}, "logger")[name]
    mode = mode_of(options)
    if mode == "disabled":
        return None
    every = list(dict.fromkeys([*(options.get("tags") or ()), *tags]))
    told = {"group": options.get("group") or group or None, "mode": mode, **({"tags": every} if every else {})}
    return make({"logger": {name: {**hidden({**options, **told}), "save_dir": save_dir}}}, "logger")[name]


def log_numbers(
    logger: Any, results: Mapping[str, Any], lines: Iterable[Mapping[str, Any]], config: Mapping[str, Any]
) -> str:
    """Logs a finished job's curves, numbers and settings by Lightning's interface of all loggers, and closes the logger.

    Curves are `<stage>/<name>` at their steps; the numbers have the names of `flat_numbers`, and are at step 0.

    Args:
        logger: A `CSVLogger` or `TensorBoardLogger`.
        results: The contents of `results.json`.
        lines: Those of `metrics.jsonl`; see `selfdebias.report.wandb_log.log_job`.
        config: The job's resolved configuration; only its allowed parts are logged, redacted.

    Returns:
        The last part of the folder that it wrote to.
    """
    said = {key: results[key] for key in ("config_hash", "seeds") if key in results}
    from pytorch_lightning.loggers import TensorBoardLogger

    said = {key: results[key] for key in ("config_hash", "seeds") if key in results}
    settings = {**without_places(hidden(said)), **allowed(config), "tags": hidden(config.get("tags", []))}
    numbers = {name: it for name, it in flat_numbers(results).items() if isinstance(it, float)}
    for (stage, step), same in groupby(lines, lambda line: (line.get("stage", "job"), finite(line.get("step")))):
        values = {f"{plain(stage)}/{plain(line['name'])}": finite(line.get("value")) for line in same}
        known = {name: value for name, value in values.items() if value is not None}
        if stage != "evaluate" and step is not None and known:  # the numbers of evaluate are those of results.json
            logger.log_metrics(known, int(step))
    if isinstance(logger, TensorBoardLogger):  # whose table of settings has the numbers beside them
        logger.log_hyperparams(settings, numbers, 0)
    else:
        logger.log_hyperparams(settings)
        logger.log_metrics(numbers, 0)
    logger.finalize("success")
    for path in Path(logger.log_dir).glob("events.out.tfevents.*"):  # whose name ends with that of this computer
        path.rename(path.with_name(re.sub(r"(tfevents\.\d+)\..*", r"\1", path.name)))
    return Path(logger.log_dir).name


def is_logged(job: Path, name: str, options: Mapping[str, Any]) -> bool:
    """Whether a logger has the finished job: W&B in the run that an agent asks for, or online where it is to be; others in files.

    Args:
        job: The job's folder.
        name: Of the logger.
        options: The logger's, as the configuration has them.
    """
    marks = [line for line in read_lines(Path(job) / MARK) if line.get("logger", WANDB) == name]
    if name != WANDB:
        return bool(marks) and Path(make_logger(name, options, job).log_dir).exists()
    asked, mode = os.environ.get("WANDB_RUN_ID"), mode_of(options)
    runs = [line for line in marks if asked in (None, "", line["run"])]
    return any(MODES.index(line["mode"]) >= MODES.index(mode) for line in runs)


def mark_logged(job: Path, run: str, mode: str, name: str = WANDB) -> None:
    """Notes that a logger has a job, so that the same command does not log it again."""
    append_line(Path(job) / MARK, {"run": run, "mode": mode, **({} if name == WANDB else {"logger": name})})
