"""Sends a finished job to Weights & Biases, once: pictures, curves, tables and numbers, and nothing that is secret."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from selfdebias.metrics.number import finite, number_at
from selfdebias.report.comparisons import KEYS, spaces_of
from selfdebias.report.measures import COLUMNS, arms_of, flat_numbers, lines_of
from selfdebias.report.privacy import allowed, without_places
from selfdebias.report.table import Table
from selfdebias.report.wording import plain
from selfdebias.storage.atomic import read_json
from selfdebias.storage.hidden import hidden, redacted_command

TENSORS = ("projector.safetensors", "bank.safetensors", "means.safetensors", "classifier.safetensors")
FACTS = "debiaser.json"
TOLD = ("model", "encoder", "prompts", "modes", "n_images", "guidance", "schedule")  # of the facts, in the metadata


def log_job(
    logger: Any,
    results: Mapping[str, Any],
    images: Mapping[str, Image.Image | bytes] | None = None,
    metrics_lines: Iterable[Mapping[str, Any]] = (),
    config: Mapping[str, Any] | None = None,
    fitted: Path | None = None,
) -> str:
    """Logs a finished job and closes the run.

    Numbers go into the run's summary, of a job with a list of prompts the means over prompts. Tables are `arms` (arms by measures)
    or `prompts` (prompts by measures), `results` (the lines of `results.csv`), and `quality`, by the features behind it.

    Args:
        logger: A Lightning `WandbLogger`; with any other logger, or None, nothing happens.
        results: The contents of `results.json`.
        images: Figures by name (`selfdebias.jobs.stages.report.read_figures` has those of a finished report), PIL or PNG.
        metrics_lines: Lines of `metrics.jsonl`; those with a stage, step and value become curves `<stage>/<name>`.
        config: The job's resolved configuration; only its allowed parts are logged, redacted.
        fitted: The job's folder, whose projectors and banks become one artifact; None for no artifact.

    Returns:
        The id of the run, "" where nothing was logged.
    """
    run = open_run(logger)
    if run is None:
        return ""
    import wandb

    try:
        said = {key: results[key] for key in ("config_hash", "seeds", "prompts", "judge") if key in results}
        run.config.update({**without_places(hidden(said)), **allowed(config or {})}, allow_val_change=True)
        _log_curves(run, metrics_lines)
        pictures = {
            name: Image.open(io.BytesIO(it)) if isinstance(it, bytes) else it for name, it in (images or {}).items()
        }
        if pictures:
            run.log({f"figures/{name}": wandb.Image(it, caption=name) for name, it in pictures.items()})
        _log_tables(run, results)
        if fitted is not None:
            log_fitted(run, fitted, results)
        run.summary.update(flat_numbers(results))
    finally:
        run.finish()
    return str(run.id)


def _log_tables(run: Any, results: Mapping[str, Any]) -> None:
    import wandb

    lines = [[plain(hidden(cell)) if isinstance(cell, str) else cell for cell in line] for line in lines_of(results)]
    tables = {"results": Table(COLUMNS, lines)}
    tables |= {"prompts": table_of_rows(results)} if "rows" in results else {"arms": table_of_arms(results)}
    quality = table_of_quality(results)
    tables |= {"quality": quality} if quality.rows else {}
    run.log({
        name: wandb.Table(columns=[*table.columns], data=[*table.rows], allow_mixed_types=True)
        for name, table in tables.items()
    })  # fmt: skip


def table_of_rows(results: Mapping[str, Any]) -> Table:
    """The numbers of each row under their flat names, None where a row lacks one.

    >>> rows = {"cook": {"arms": {"guided": {"fid": {"value": 2.0}}}}, "nurse": {"arms": {"guided": {}}}}
    >>> table_of_rows({"rows": rows}).rows
    [['cook', 2.0], ['nurse', None]]
    """
    flat = {row: flat_numbers(results["rows"][row]) for row in results.get("row_names", results["rows"])}
    names = list(dict.fromkeys(name for own in flat.values() for name in own if not name.endswith("/reason")))
    return Table(["prompt", *names], [[plain(row), *map(own.get, names)] for row, own in flat.items()])


def table_of_arms(results: Mapping[str, Any]) -> Table:
    """The value of each measure of each arm, None where an arm lacks it.

    >>> arms = {"vanilla": {"fid": {"value": 2.0, "floor": 1.0}}, "guided": {"kid": {"value": 0.5}}}
    >>> table = table_of_arms({"arms": arms})
    >>> table.columns, table.rows
    (['arm', 'fid', 'kid'], [['vanilla', 2.0, None], ['guided', None, 0.5]])
    """
    values: dict[str, dict[str, Any]] = {arm: {} for arm in arms_of(results)}
    for _, arm, metric, value, *_ in lines_of(results):
        if arm:
            values[arm][metric] = value
    names = list(dict.fromkeys(name for own in values.values() for name in own))
    return Table(["arm", *names], [[arm, *map(own.get, names)] for arm, own in values.items()])


def table_of_quality(results: Mapping[str, Any]) -> Table:
    """Quality by features; no rows in earlier results.

    Example:
        >>> kid = {"kid": {"value": 0.5, "floor": 0.1}}
        >>> said = {"judge": {"name": "J", "dim": 8}}
        >>> table = table_of_quality({"arms": {"guided": {"quality": {"judge": kid}}}, "spaces": said})
        >>> [dict(zip(table.columns, table.rows[0]))[name] for name in ("name", "kid", "kid/floor", "kept")]
        ['J', 0.5, 0.1, None]
    """
    facts = ("", "/low", "/high", "/floor")
    columns = ["prompt", "arm", "features", "name", "dim", *(key + fact for key in KEYS for fact in facts)]
    rows: list[list[Any]] = []
    for prompt, one in results["rows"].items() if "rows" in results else [("", results)]:
        for arm in arms_of(one):
            for name in spaces_of(one["arms"][arm].get("quality", {})):
                said, tree = one.get("spaces", {}).get(name, {}), one["arms"][arm]["quality"][name]
                found = [number_at(tree, key) for key in KEYS]
                numbers = [getattr(it, fact) for it in found for fact in ("value", "low", "high", "floor")]
                rows.append([plain(prompt), plain(arm), name, plain(said.get("name", "")), said.get("dim"), *numbers])
    return Table(columns, rows)


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


def log_fitted(run: Any, job: Path, results: Mapping[str, Any]) -> None:
    """Logs all projectors and banks below a job's folder, under their names there, so that `SelfDebias` reads what is fetched.

    The files are read where they lie, and not copied first: nothing changes a job's finished files.

    Args:
        run: An open W&B run.
        job: The job's folder; without a projector nothing is logged.
        results: The contents of its `results.json`.
    """
    import wandb

    found = sorted(path for name in (*TENSORS, FACTS) for path in job.rglob(name))
    files = {path.relative_to(job).as_posix(): path for path in found if path.relative_to(job).parts[0] != "wandb"}
    if not files:
        return
    facts = {name: without_places(hidden(read_json(path))) for name, path in files.items() if path.name == FACTS}
    told = {name: {key: it[key] for key in TOLD if key in it} for name, it in facts.items()}
    only = next(iter(told.values())) if len(told) == 1 else {"rows": told}
    config_hash = str(results.get("config_hash", run.id))
    artifact = wandb.Artifact(f"fitted-{config_hash}", "debiaser", metadata={"config_hash": config_hash, **only})
    for name, path in files.items():
        if name in facts:
            with artifact.new_file(name, mode="w") as file:
                json.dump(facts[name], file)
        else:
            artifact.add_file(str(path.absolute()), name, policy="immutable")
    run.log_artifact(artifact)


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
