"""Project: train the projector on recorded activations, and place the modes in its output space."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from selfdebias.jobs.stages.discover import read_embeddings
from selfdebias.modes.axes_bank import calibrated, fit_axes_bank
from selfdebias.modes.axis_sides import sides_of
from selfdebias.modes.bank import ModeBank, ModeMeans
from selfdebias.modes.bank_fit import fit_bank, fit_means, fit_temperatures
from selfdebias.modes.projection import SemanticProjector
from selfdebias.storage.atomic import write_json, write_text
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.tensor_rows import TensorRows, in_parts

VERSION = 5
CONFIG = ("projector", "project")
FACTS = ("h_id", "h_timestep", "h_step", "h_branch")  # what is recorded of each activation
HELD_OUT = 0.125  # share of the images that the projector is measured on


def project(
    folder: Path,
    collected: Path,
    discovered: Path,
    encoder: Any,
    projector: Callable[..., Any],
    seed: int,
    trainer: Callable[..., pl.Trainer],
) -> None:
    """Write the projector, the mode bank, the modes' mean activations, the training curves and the held-out measures.

    Args:
        folder: the stage's own folder.
        collected: folder of the collect stage.
        discovered: folder of the discover stage.
        encoder: the one that collect used; its name goes into projector and bank.
        projector: makes the LightningModule that trains, from data, branches, encoder and seed.
        seed: seed of weights, batches and the held-out split.
        trainer: makes the Lightning trainer.
    """
    modes = json.loads((discovered / "modes.json").read_text())
    branches = tuple(json.loads((collected / "collect.json").read_text())["branches"])
    data = read_activations(collected, modes["labels"])
    if "axes" in modes:
        data["sides"] = torch.from_numpy(sides_of(data["mode"].numpy(), len(modes["axes"])))
    held_out = torch.isin(data["id"], held_out_ids(data["id"].unique(), seed))
    phi, z = train(folder, data, held_out, branches, encoder, projector, seed, trainer)
    if "axes" in modes:
        finish_axes(folder, phi, z, data, held_out)
        return
    target = torch.tensor(modes["target"])
    bank = fit_bank(
        z[~held_out], data["mode"][~held_out], data["timestep"][~held_out], data["branch"][~held_out], branches, target
    )
    bank = replace(bank, depths=torch.tensor(modes["depths"]))
    finish(folder, phi, bank, z, data, held_out)


def finish(
    folder: Path, phi: SemanticProjector, bank: ModeBank, z: Tensor, data: dict[str, Any], held_out: Tensor
) -> None:
    """Write projector, bank and mean activations, and what is measured on the activations (M rows) that are held out."""
    phi.save(folder / "projector.safetensors")
    _calibrated(bank, z[held_out], rows(data, held_out), phi.encoder).save(folder / "bank.safetensors")
    fitted = rows(data, ~held_out & (data["branch"] == bank.branches.index("cond")))
    means = fit_means(fitted["h"], fitted["mode"], fitted["timestep"], len(bank.target))
    means.save(folder / "means.safetensors")
    write_json(folder / "project.json", measure(z[held_out], rows(data, held_out), bank))


def finish_axes(folder: Path, phi: SemanticProjector, z: Tensor, data: dict[str, Any], held_out: Tensor) -> None:
    """Write what `finish` does, of axes; ``sides`` (M, A) of an activation are those of its image, ``prompt`` (M,) its prompt
    where there are several."""
    sides, axes = data["sides"], data["sides"].shape[1]
    fitted = rows(data, ~held_out)
    where = fitted["timestep"], fitted["branch"]
    bank = fit_axes_bank(z[~held_out], sides[~held_out], *where, phi.branches, phi.encoder, fitted.get("prompt"))
    phi.save(folder / "projector.safetensors")
    kept, kept_sides = rows(data, held_out), sides[held_out]
    calibrated(bank, z[held_out], kept_sides, kept["timestep"], kept["branch"]).save(folder / "bank.safetensors")
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


def _calibrated(bank: ModeBank, z: Tensor, data: dict[str, Any], encoder: str) -> ModeBank:
    """Return the bank with its encoder's name and the temperatures that held-out images give it."""
    temperatures = fit_temperatures(z, data["mode"], data["timestep"], data["branch"], bank, data.get("prompt"))
    return replace(bank, encoder=encoder, temperatures=temperatures)


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


def read_activations(collected: Path, labels: dict[str, int]) -> dict[str, Any]:
    """Find all recorded activations of the collect stage, with the embedding and the mode of each one's image.

    Returns:
        ``h`` (M, C, H, W) float16, which stays on disk; ``e`` (M, d) float32; ``id``, ``branch``, ``mode`` (M,) int64;
        ``timestep`` (M,) float32.
    """
    store = BatchFolder.open(collected)
    ids, e = read_embeddings(store)
    row = {i: place for place, i in enumerate(ids)}
    shards = [_in_order(store.rows(batch, "h"), facts) for batch, facts in store.tensors(FACTS)]
    facts = {name: torch.cat([shard[name] for _, shard in shards]) for name in FACTS}
    places = torch.tensor([row[int(i)] for i in facts["h_id"]])
    mode = torch.tensor([labels[str(i)] for i in ids])
    return {
        "h": TensorRows.join([h for h, _ in shards]), "e": e[places], "id": facts["h_id"], "branch": facts["h_branch"],
        "mode": mode[places], "timestep": facts["h_timestep"].float(),
    }  # fmt: skip


def _in_order(h: TensorRows, facts: dict[str, Tensor]) -> tuple[TensorRows, dict[str, Tensor]]:
    """Return a batch's recorded rows by step and branch, as one process writes them; parts stand one behind the other."""
    order = torch.argsort(2 * facts["h_step"] + facts["h_branch"], stable=True)
    return h.only(order), {name: values[order] for name, values in facts.items()}


@torch.no_grad()
def embed(phi: SemanticProjector, data: dict[str, Any]) -> Tensor:
    """Return `z` (M, d) of all activations."""
    return torch.cat([phi(*part) for part in in_parts(data["h"], data["timestep"], data["branch"])])


def measure(z: Tensor, data: dict[str, Any], bank: ModeBank) -> dict[str, Any]:
    """Measure a projector on held-out images: cosine to the embedding, and how often the nearest centroid is the mode."""
    accuracy: dict[str, dict[str, float]] = {branch: {} for branch in bank.branches}
    right = bank.scores_of(z, data["timestep"], data["branch"], data.get("prompt")).argmax(dim=1) == data["mode"]
    for b, branch in enumerate(bank.branches):
        for t in bank.timesteps.tolist():
            here = (data["branch"] == b) & (data["timestep"] == t)
            if here.any():
                accuracy[branch][str(t)] = float(right[here].float().mean())
    return {**measure_projector(z, data, bank.branches), "accuracy_by_timestep": accuracy}


def measure_projector(z: Tensor, data: dict[str, Any], branches: Sequence[str]) -> dict[str, Any]:
    """Measure a projector on held-out images, modes aside: cosine to the embedding, and retrieval; arguments as there."""
    return {
        "cosine_held_out": float((z * data["e"]).sum(dim=1).mean()),
        "retrieval": retrieval(z, data, branches),
        "held_out_images": len(data["id"].unique()),
    }


def retrieval(z: Tensor, data: dict[str, Any], branches: Sequence[str], among: int = 64) -> dict[str, Any]:
    """Measure how often the embedding nearest to a projected vector is that of its own image.

    Args:
        z: (M, d) projected vectors of held-out images.
        data: ``id``, ``branch``, ``timestep`` and ``e`` of each.
        branches: names of the branches.
        among: images that are searched, at most: the first ones.

    Returns:
        The share over all vectors as ``value``, over how many images as ``among``, and the share ``by_timestep``, by branch.
    """
    ids = data["id"].unique()[:among]
    first = torch.stack([data["e"][data["id"] == i][0] for i in ids])
    kept = torch.isin(data["id"], ids)
    hit = (ids[(z[kept] @ first.T).argmax(dim=1)] == data["id"][kept]).float()
    branch, timestep = data["branch"][kept], data["timestep"][kept]
    by_timestep = {
        name: {
            str(float(t)): float(hit[(branch == b) & (timestep == t)].mean()) for t in timestep[branch == b].unique()
        }
        for b, name in enumerate(branches)
    }
    return {"value": float(hit.mean()), "among": len(ids), "by_timestep": by_timestep}


def held_out_ids(ids: Tensor, seed: int) -> Tensor:
    """Return the ids of the images that the projector is measured on, chosen at random by the seed."""
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    return ids[order[: max(1, round(HELD_OUT * len(ids)))]]
