"""Project: train the projector on recorded activations, and place the modes in its output space."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from selfdebias.jobs.stages.collected import CollectedImages
from selfdebias.jobs.stages.fitted_files import choose_block, folder_of_block
from selfdebias.modes.bank import ModeBank
from selfdebias.modes.bank_fit import fit_axes_bank, fit_axis_bank, fit_bank, fit_mean_bank
from selfdebias.modes.banks import PROMPT, SHARED
from selfdebias.modes.classifier import fit_classifier
from selfdebias.modes.means import ModeMeans, fit_means
from selfdebias.modes.placement import AxisSides, CarriedModes, read_carried, sides_of
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.projector_measures import measure, measure_projector
from selfdebias.modes.semantics import calibrated, fit_temperatures
from selfdebias.modes.thresholds import axes_with_thresholds, with_thresholds
from selfdebias.storage.atomic import read_json, write_json, write_text
from selfdebias.storage.tensor_rows import TensorRows, in_parts

VERSION, CONFIG = 5, ("projector", "project")
VERSION_OF_SEVERAL = VERSION_ALONE = 1
HELD_OUT = 0.125  # share of the images that the projector is measured on


def project(
    folder: Path, discovered: Path | None, encoder: Any, projector: Callable[..., Any], seed: int,
    trainer: Callable[..., pl.Trainer], collected: Path | None = None, fitted: Mapping[str, Path] | None = None,
    threshold: str = SHARED,
) -> None:  # fmt: skip
    """Write the projector, the mode bank, the modes' mean activations, the training curves and the held-out measures.

    Args:
        folder: the stage's own folder.
        discovered: folder of the discover stage. None fits the projector alone, which discover then finds modes with: there is no
            bank, and no batch is balanced.
        encoder: the one that collect used; its name goes into projector and bank.
        projector: makes the LightningModule that trains, from data, branches, encoder and seed.
        seed: seed of weights, batches and the held-out split.
        trainer: makes the Lightning trainer.
        collected: folder of the collect stage.
        fitted: folders of several collect stages in its place; the discovered modes are transferred to their prompts.
        threshold: of transferred modes, as in `CarriedBank`.

    Where activations were recorded after several blocks, each has a folder of its own with all of it; see `choose_block`.
    """
    images = CollectedImages.read(collected, fitted)
    places = {} if images.places is None else {"places": images.places}
    several = [block for block in images.blocks if block is not None] if len(images.blocks) > 1 else []
    for block in images.blocks:
        own = folder_of_block(folder, block) if several and block is not None else folder
        own.mkdir(exist_ok=True)
        placed = partial(projector, **places, **({} if block is None else {"block": block}))
        try:
            _project(own, images, block, discovered, encoder, placed, seed, trainer, bool(fitted), threshold)
        except ValueError as error:
            if not several:
                raise
            raise ValueError(f"After block {block}: {error} Or leave it out of `blocks`.") from error
    if several:
        choose_block(folder, several)


def _project(
    folder: Path, images: CollectedImages, block: int | None, discovered: Path | None, encoder: Any,
    projector: Callable[..., Any], seed: int, trainer: Callable[..., pl.Trainer], carried: bool, threshold: str,
) -> None:  # fmt: skip
    """Write what `project` does of the activations after one block; `carried`, whether modes are transferred to other prompts."""
    found = {} if discovered is None else read_json(discovered / "modes.json")
    modes = read_carried(discovered) if discovered and carried else None
    if modes:
        data = images.activations(images.labels(modes), block)
        data["prompt"] = images.prompt_index[data["id"]]
    else:  # all modes are 0 where none are known
        data = images.activations([found["labels"][str(i)] if found else 0 for i in images.numbers], block)
    if "axes" in found:
        data["sides"] = torch.from_numpy(sides_of(data["mode"].numpy(), len(found["axes"])))
    held_out = torch.isin(data["id"], held_out_ids(data["id"].unique(), seed))
    phi, z = train(folder, data, held_out, images.branches, encoder, projector, seed, trainer)
    if not found:
        phi.save(folder / "projector.safetensors")
        write_json(folder / "project.json", measure_projector(z[held_out], rows(data, held_out), phi.branches))
    elif "axes" in found:
        finish_axes(folder, phi, z, data, held_out, images.prompts if threshold == PROMPT else ())
    else:
        own = {name: values[~held_out] for name, values in data.items() if name != "h"}
        bank = _fit_bank(z[~held_out], own, torch.tensor(found["target"]), images, modes, threshold)
        finish(folder, phi, replace(bank, depths=torch.tensor(found["depths"])), z, data, held_out)
        if "classes" in found:  # modes that a judge has labelled
            labelled = rows(data, ~held_out)["h"], own["mode"], own["timestep"], own["branch"]
            fit_classifier(*labelled, images.branches, phi.shape[1:]).save(folder / "classifier.safetensors")


def _fit_bank(
    z: Tensor, data: Mapping[str, Tensor], target: Tensor, images: CollectedImages, modes: CarriedModes | AxisSides | None,
    threshold: str,
) -> ModeBank:  # fmt: skip
    """Return the bank of projected vectors, z (M, d): carried modes go by their axis, or by each prompt's mean.

    Args:
        z: of activations.
        data: ``mode``, ``timestep``, ``branch``, and ``prompt`` where modes are transferred, of each.
        target: (K,) shares.
        images: the branches and prompts.
        modes: what is transferred; None for the images' own.
        threshold: as in `project`.
    """
    common = z, data["mode"], data["timestep"], data["branch"], images.branches, target
    if not isinstance(modes, CarriedModes) or len(target) == 1:  # of one, there is nothing to balance, and no axis
        return fit_bank(*common)
    if modes.by_mean:
        return fit_mean_bank(*common, data["prompt"], images.prompts)
    bank = fit_axis_bank(*common, torch.from_numpy(modes.centers).float())
    return with_thresholds(bank, *common[:4], data["prompt"], images.prompts) if threshold == PROMPT else bank


def finish(
    folder: Path, phi: SemanticProjector, bank: ModeBank, z: Tensor, data: dict[str, Any], held_out: Tensor
) -> None:
    """Write projector, bank and mean activations, and what is measured on the activations (M rows) that are held out."""
    phi.save(folder / "projector.safetensors")
    kept = rows(data, held_out)
    places = kept["mode"], kept["timestep"], kept["branch"]
    temperatures = fit_temperatures(z[held_out], *places, bank, kept.get("prompt"))
    replace(bank, encoder=phi.encoder, temperatures=temperatures).save(folder / "bank.safetensors")
    fitted = rows(data, ~held_out & (data["branch"] == bank.branches.index("cond")))
    means = fit_means(fitted["h"], fitted["mode"], fitted["timestep"], len(bank.target))
    means.save(folder / "means.safetensors")
    write_json(folder / "project.json", measure(z[held_out], kept, bank))


def finish_axes(
    folder: Path, phi: SemanticProjector, z: Tensor, data: dict[str, Any], held_out: Tensor, apart: Sequence[str] = ()
) -> None:  # fmt: skip
    """Write what `finish` does, of axes; ``sides`` (M, A) of an activation are those of its image, ``prompt`` (M,) its prompt
    where there are several. The prompts `apart` have thresholds of their own."""
    sides, axes = data["sides"], data["sides"].shape[1]
    fitted = rows(data, ~held_out)
    where = fitted["timestep"], fitted["branch"]
    bank = fit_axes_bank(z[~held_out], sides[~held_out], *where, phi.branches, phi.encoder, fitted.get("prompt"))
    if apart:
        bank = axes_with_thresholds(bank, z[~held_out], sides[~held_out], *where, fitted["prompt"], apart)
    phi.save(folder / "projector.safetensors")
    kept, kept_sides = rows(data, held_out), sides[held_out]
    calibrated(bank, z[held_out], kept_sides, kept["timestep"], kept["branch"], kept.get("prompt")).save(
        folder / "bank.safetensors"
    )
    cond = ~held_out & (data["branch"] == bank.branches.index("cond"))
    own = rows(data, cond)
    means = [fit_means(own["h"], sides[cond, a], own["timestep"], 2) for a in range(axes)]
    joined = ModeMeans(means[0].timesteps, torch.cat([it.deviations for it in means], dim=1))
    joined.save(folder / "means.safetensors")
    by_axis = [
        measure(z[held_out], {**kept, "mode": kept_sides[:, a]}, axis)["accuracy_by_timestep"]
        for a, axis in enumerate(bank.axes)
    ]
    mean = {
        branch: {t: sum(it[branch][t] for it in by_axis) / axes for t in by_axis[0][branch]} for branch in bank.branches
    }
    measured = {**measure_projector(z[held_out], kept, bank.branches), "accuracy_by_timestep": mean}
    write_json(folder / "project.json", {**measured, "accuracy_by_axis": by_axis})


def rows(data: dict[str, Any], chosen: Tensor) -> dict[str, Any]:
    """Return the activations at `chosen`, a mask (M,); those on disk stay there."""
    return {n: values.only(chosen) if isinstance(values, TensorRows) else values[chosen] for n, values in data.items()}


def train(
    folder: Path, data: dict[str, Any], held_out: Tensor, branches: tuple[str, ...], encoder: Any,
    projector: Callable[..., Any], seed: int, trainer: Callable[..., pl.Trainer],
) -> tuple[SemanticProjector, Tensor]:  # fmt: skip
    """Train the projector on activations (M rows) that are not held out, and write its curves.

    Returns:
        The projector, frozen; `z` (M, d) of all activations.
    """
    fit = projector(data=rows(data, ~held_out), branches=branches, encoder=name_of(encoder), seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # of dropout, which knows no generator of its own
        trainer(max_epochs=1).fit(fit, DataLoader(range(fit.steps), batch_size=1))  # type: ignore[arg-type]
    phi = fit.projector.cpu().eval().requires_grad_(False)
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in fit.curve))
    return phi, embed(phi, data)


def name_of(encoder: Any) -> str:
    """Return the encoder's name, or that of its function or class, with the beginning of its fingerprint if it has one."""
    own = getattr(encoder, "__qualname__", type(encoder).__qualname__)
    name = getattr(encoder, "encoder_id", None) or f"{encoder.__module__}.{own}"
    return f"{name}@{encoder.fingerprint()[:12]}" if hasattr(encoder, "fingerprint") else name


@torch.no_grad()
def embed(phi: SemanticProjector, data: dict[str, Any]) -> Tensor:
    """Return `z` (M, d) of all activations."""
    return torch.cat([phi(*part) for part in in_parts(data["h"], data["timestep"], data["branch"])])


def held_out_ids(ids: Tensor, seed: int) -> Tensor:
    """Return the ids of the images that the projector is measured on, chosen at random by the seed."""
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    return ids[order[: max(1, round(HELD_OUT * len(ids)))]]
