"""What a job fitted, its projectors and banks, as one artifact of its W&B run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.report.places import without_places
from selfdebias.storage.hidden import hidden

TENSORS = ("projector.safetensors", "bank.safetensors", "means.safetensors")
FACTS = "debiaser.json"
TOLD = ("model", "encoder", "prompts", "modes", "n_images", "guidance", "schedule")  # of the facts, in the metadata


def log_fitted(run: Any, job: Path, results: Mapping[str, Any]) -> None:
    """Logs all projectors and banks below a job's folder, under their names there, so that `SelfDebias` reads what is fetched.

    The files are read where they lie, and not copied first: nothing changes a job's finished files.

    Args:
        run: An open W&B run.
        job: The job's folder; without a projector nothing is logged.
        results: The contents of its `results.json`.
    """
    import wandb

    files = fitted_files(job)
    if not files:
        return
    facts = {name: _facts(path) for name, path in files.items() if path.name == FACTS}
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


def fitted_files(job: Path) -> dict[str, Path]:
    """The files of projectors and banks below a job's folder, by their names from there."""
    found = sorted(path for name in (*TENSORS, FACTS) for path in Path(job).rglob(name))
    names = {path.relative_to(job).as_posix(): path for path in found}
    return {name: path for name, path in names.items() if not name.startswith("wandb/")}


def _facts(path: Path) -> dict[str, Any]:
    return without_places(hidden(json.loads(path.read_text())))
