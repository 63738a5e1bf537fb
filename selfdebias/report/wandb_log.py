"""Sends a finished job to Weights & Biases: pictures, curves and numbers, and nothing that is secret."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from PIL import Image

from selfdebias.report.measures import finite
from selfdebias.report.redact import allowed, redacted
from selfdebias.report.wording import plain

# What `wandb.init` is to be given, so that the command line, the user's and the computer's names, the code and the
# terminal's output stay here. `conf/logger/wandb.yaml` holds the same.
PRIVATE_SETTINGS: dict[str, Any] = {
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "disable_git": True,
    "disable_code": True,
    "disable_job_creation": True,
    "save_code": False,
    "console": "off",
    "host": "hidden",
    "silent": True,
}
NUMBERS = ("value", "low", "high", "floor", "n")


def log_job(
    logger: Any,
    results: Mapping[str, Any],
    images: Mapping[str, Image.Image | bytes],
    metrics_lines: Iterable[Mapping[str, Any]],
    config: Mapping[str, Any] | None = None,
) -> None:
    """Logs a finished job and closes the run.

    Args:
        logger: A Lightning `WandbLogger`; with any other logger, or None, nothing happens.
        results: The contents of `results.json`; each of its numbers goes into the run's summary.
        images: Figures by name (`selfdebias.stages.report.read_figures` has those of a finished report), PIL or PNG.
        metrics_lines: Lines of `metrics.jsonl`; those with a stage, step and value become curves `<stage>/<name>`.
        config: The job's resolved configuration; only its allowed parts are logged, redacted.
    """
    run = _run_of(logger)
    if run is None:
        return
    try:
        run.config.update(_config(results, config or {}), allow_val_change=True)
        _log_curves(run, metrics_lines)
        _log_images(run, images)
        run.summary.update(flat_numbers(results))
    finally:
        run.finish()


def log_rows(logger: Any, results: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> None:
    """Logs a finished job with a row for each prompt, as one table and the means over prompts, and closes the run.

    Args:
        logger: As in `log_job`.
        results: The contents of `results.json` of a job with rows.
        config: As in `log_job`.
    """
    run = _run_of(logger)
    if run is None:
        return
    import wandb

    try:
        run.config.update(_config(results, config or {}), allow_val_change=True)
        columns, rows = table_of_rows(results)
        run.log({"prompts": wandb.Table(columns=columns, data=rows)})
        means: dict[str, float | str] = {}
        _flatten(results["over_prompts"], "over_prompts", means)
        run.summary.update(means)
    finally:
        run.finish()


def table_of_rows(results: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The numbers of each row under their flat names, None where a row lacks one: (columns, rows).

    >>> rows = {"cook": {"arms": {"guided": {"fid": {"value": 2.0}}}}, "nurse": {"arms": {"guided": {}}}}
    >>> table_of_rows({"rows": rows})
    (['prompt', 'guided/fid'], [['cook', 2.0], ['nurse', None]])
    """
    flat = {row: flat_numbers(results["rows"][row]) for row in results.get("row_names", results["rows"])}
    names = list(dict.fromkeys(name for own in flat.values() for name in own if not name.endswith("/reason")))
    return ["prompt", *names], [[plain(row), *(own.get(name) for name in names)] for row, own in flat.items()]


def _run_of(logger: Any) -> Any:
    """The open run of a `WandbLogger`; None for any other logger, or where W&B is not reached, which is said."""
    from pytorch_lightning.loggers import WandbLogger

    if not isinstance(logger, WandbLogger):
        return None
    import wandb

    logger._wandb_init.pop("anonymous", None)  # Lightning always hands it on, and W&B warns of it whatever its value
    try:
        return logger.experiment
    except (wandb.Error, OSError) as error:
        reason = plain(redacted(str(error).splitlines()[0] if str(error) else type(error).__name__))
        print(
            f"selfdebias: W&B was not reached ({reason}): nothing was logged there, all results are here.",
            file=sys.stderr,
        )
        return None


def flat_numbers(results: Mapping[str, Any]) -> dict[str, float | str]:
    """Every number of `results.json` under a flat name; one that is null is left out, and its reason is kept.

    >>> flat_numbers({"arms": {"guided": {"fid": {"value": 1.5, "floor": 0.5}, "kid": {"value": None, "reason": "few"}}}})
    {'guided/fid': 1.5, 'guided/fid/floor': 0.5, 'guided/kid/reason': 'few'}
    """
    flat: dict[str, float | str] = {}
    for part in ("arms", "modes", "cost"):
        _flatten(results.get(part, {}), "" if part == "arms" else part, flat)
    return flat


def _flatten(tree: Any, name: str, flat: dict[str, float | str]) -> None:
    if not isinstance(tree, Mapping):
        value = finite(tree)
        if value is not None:
            flat[name] = value
        return
    for key, child in tree.items():
        if key == "reason":
            flat[f"{name}/reason"] = plain(redacted(str(child)))
        elif key == "value":
            _flatten(child, name, flat)
        else:
            _flatten(child, f"{name}/{key}" if name else str(key), flat)


def _config(results: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    said = {key: results[key] for key in ("config_hash", "seeds", "prompts", "judge") if key in results}
    return {**redacted(said), **allowed(config)}


def _log_curves(run: Any, lines: Iterable[Mapping[str, Any]]) -> None:
    """Each stage has its own step axis, since W&B's own only ever grows."""
    defined: set[str] = set()
    for line in lines:
        stage, step, value = plain(line.get("stage", "job")), finite(line.get("step")), finite(line.get("value"))
        if stage == "evaluate" or step is None or value is None:
            continue  # the numbers of evaluate are those of results.json
        if stage not in defined:
            run.define_metric(f"{stage}/step")
            run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
            defined.add(stage)
        run.log({f"{stage}/step": step, f"{stage}/{plain(line['name'])}": value})


def _log_images(run: Any, images: Mapping[str, Image.Image | bytes]) -> None:
    import wandb

    pictures = {name: Image.open(io.BytesIO(it)) if isinstance(it, bytes) else it for name, it in images.items()}
    if pictures:
        run.log({f"figures/{name}": wandb.Image(it, caption=name) for name, it in pictures.items()})
