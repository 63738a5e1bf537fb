"""Project for a bank that holds for many prompts: the projector and the bank are fitted on the images of all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from selfdebias.jobs.stages.fitted import FittedImages
from selfdebias.jobs.stages.project import finish, finish_axes, held_out_ids, train
from selfdebias.modes.axis_sides import AxisSides, sides_of
from selfdebias.modes.bank import ModeBank
from selfdebias.modes.bank_fit import fit_axis_bank, fit_bank, fit_mean_bank
from selfdebias.modes.carried import CarriedModes, read_carried

VERSION = 1
CONFIG = ("projector", "project")


def project_bank(
    folder: Path, fitted: Mapping[str, Path], discovered: Path, encoder: Any, projector: Callable[..., Any], seed: int,
    trainer: Callable[..., pl.Trainer],
) -> None:  # fmt: skip
    """Write what `project` writes, fitted on several prompts.

    Args:
        folder: the stage's own folder.
        fitted: finished collect folders by name.
        discovered: folder of the discover stage whose modes are carried to all of them.
        encoder, projector, seed, trainer: as in `project`.
    """
    modes, images = read_carried(discovered), FittedImages(fitted)
    data = images.activations(images.labels(modes))
    if isinstance(modes, AxisSides):
        data["sides"] = torch.from_numpy(sides_of(data["mode"].numpy(), len(modes.duals)))
    held_out = torch.isin(data["id"], held_out_ids(data["id"].unique(), seed))
    phi, z = train(folder, data, held_out, images.branches, encoder, projector, seed, trainer)
    if isinstance(modes, AxisSides):
        finish_axes(folder, phi, z, data, held_out)
        return
    depths = json.loads((discovered / "modes.json").read_text())["depths"]
    bank = fit_carried_bank(z[~held_out], {k: v[~held_out] for k, v in data.items() if k != "h"}, modes, images)
    finish(folder, phi, replace(bank, depths=torch.tensor(depths)), z, data, held_out)


def fit_carried_bank(z: Tensor, data: Mapping[str, Tensor], modes: CarriedModes, images: FittedImages) -> ModeBank:
    """Return the bank of carried modes: by their axis, or by each prompt's mean.

    Args:
        z: (M, d) projected vectors.
        data: ``mode``, ``timestep``, ``branch`` and ``prompt`` of each.
        modes: what is carried.
        images: the branches and prompts.
    """
    k = len(modes.centers)
    target = torch.full((k,), 1 / k)
    common = z, data["mode"], data["timestep"], data["branch"], images.branches, target
    if k == 1:
        return fit_bank(*common)  # nothing to balance, and no axis
    if modes.by_mean:
        return fit_mean_bank(*common, data["prompt"], images.prompts)
    return fit_axis_bank(*common, torch.from_numpy(modes.centers).float())
