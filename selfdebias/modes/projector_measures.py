"""Measures a projector on held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from selfdebias.modes.bank import ModeBank


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
