"""Sends a finished job to Weights & Biases: pictures, curves and numbers, and nothing that is secret."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from selfdebias.metrics.number import finite
from selfdebias.report.flat_tables import (
    COLUMNS,
    flat_numbers,
    lines_of,
    table_of_arms,
    table_of_quality,
    table_of_rows,
)
from selfdebias.report.privacy import allowed, without_places
from selfdebias.report.table import Table
from selfdebias.report.wandb_run import open_run
from selfdebias.report.wording import plain
from selfdebias.storage.hidden import hidden

TENSORS = ("projector.safetensors", "bank.safetensors", "means.safetensors")
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
    try:
        said = {key: results[key] for key in ("config_hash", "seeds", "prompts", "judge") if key in results}
        run.config.update({**without_places(hidden(said)), **allowed(config or {})}, allow_val_change=True)
        _log_curves(run, metrics_lines)
        _log_images(run, images or {})
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
    names = {path.relative_to(job).as_posix(): path for path in found}
    files = {name: path for name, path in names.items() if not name.startswith("wandb/")}
    if not files:
        return
    facts = {
        name: without_places(hidden(json.loads(path.read_text()))) for name, path in files.items() if path.name == FACTS
    }
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
