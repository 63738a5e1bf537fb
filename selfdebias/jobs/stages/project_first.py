"""Project before discover, where modes are to be found among projected vectors: the projector alone, which knows no modes yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from selfdebias.jobs.stages.project import held_out_ids, measure_projector, read_activations, rows, train
from selfdebias.storage.atomic import write_json
from selfdebias.storage.batches import BatchFolder

VERSION = 1
CONFIG = ("projector", "project")


def project_first(
    folder: Path,
    collected: Path,
    encoder: Any,
    projector: Callable[..., Any],
    seed: int,
    trainer: Callable[..., pl.Trainer],
) -> None:
    """Write the projector, its curves and held-out measures; `discover_projected` adds the bank.

    Args:
        folder: the stage's own folder.
        collected, encoder, projector, seed, trainer: as in `project`; no batch is balanced, since all are in one mode here.
    """
    branches = tuple(json.loads((collected / "collect.json").read_text())["branches"])
    ids = BatchFolder.open(collected).ids()
    data = read_activations(collected, dict.fromkeys(map(str, ids), 0))
    held_out = torch.isin(data["id"], held_out_ids(data["id"].unique(), seed))
    phi, z = train(folder, data, held_out, branches, encoder, projector, seed, trainer)
    phi.save(folder / "projector.safetensors")
    write_json(folder / "project.json", measure_projector(z[held_out], rows(data, held_out), branches))
