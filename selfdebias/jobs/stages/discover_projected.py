"""Discover among projected vectors, as the paper does: each timestep is clustered by itself, and neighbours in time are matched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfdebias.jobs.stages.discover import facts_of, prompts_of, read_embeddings, stability_of, write_modes
from selfdebias.jobs.stages.project import embed, read_activations
from selfdebias.modes.bank_fit import fit_bank
from selfdebias.modes.over_time import ModesOverTime, follow_modes
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.sphere import centers_of, mean_offsets, nearest
from selfdebias.storage.batches import BatchFolder

VERSION = 2
CONFIG = ("clustering", "vocabulary", "discover")


def discover_projected(
    folder: Path, collected: Path, projected: Path, clustering: Any, vocabulary: Any, encoder: Any
) -> None:
    """Write what `discover` writes, and ``bank.safetensors``: the centroids of the modes at each branch and timestep.

    Vectors of the conditional branch are clustered; the unconditional ones go with those of the same image and timestep. The
    centres that are written lie among the embeddings, so that images can be held against them whose activations nobody has.

    Args:
        folder: the stage's own folder.
        collected: folder of the collect stage.
        projected: folder of `project_first`.
        clustering, vocabulary, encoder: as in `discover`.
    """
    store, phi = BatchFolder.open(collected), SemanticProjector.load(projected / "projector.safetensors")
    ids, e = read_embeddings(store)
    data = read_activations(collected, dict.fromkeys(map(str, ids), 0))
    z = embed(phi.eval(), data)
    row = {i: place for place, i in enumerate(ids)}
    image = torch.tensor([row[int(i)] for i in data["id"]])
    cond = data["branch"] == phi.branches.index("cond")
    found = follow_modes(
        z[cond].double().numpy(), image[cond].numpy(), data["timestep"][cond].double().numpy(), clustering
    )
    k, X = len(found.depths), e.double().numpy()
    labels = _of_activations(found, image, data["timestep"], cond)
    bank = fit_bank(z, labels, data["timestep"], data["branch"], phi.branches, torch.full((k,), 1 / k))
    depths = torch.from_numpy(found.depths)
    replace(bank, encoder=phi.encoder, depths=depths).save(folder / "bank.safetensors")
    at_reference = z[cond & (data["timestep"] == found.reference)].double().numpy()
    centers = centers_of(X, found.of_image)
    facts = {
        **facts_of(found.fitted),
        "depths": found.depths.tolist(),
        "stability": stability_of(found.fitted, at_reference),
        "placed": float(np.mean(nearest(X, centers) == found.of_image)),
        "words": vocabulary.describe(X, found.of_image, encoder),
        "timesteps": {"reference": found.reference, "clustered": found.clustered},
    }
    offsets = mean_offsets(X, found.of_image, prompts_of(store, ids))
    write_modes(folder, ids, found.of_image, centers, offsets, facts, store.images)


def _of_activations(found: ModesOverTime, image: Tensor, timestep: Tensor, cond: Tensor) -> Tensor:
    """Return the mode (M,) of each activation: the one that its image has at its timestep on the conditional branch."""
    own = zip(image[cond].tolist(), timestep[cond].tolist(), strict=True)
    known = dict(zip(own, found.labels.tolist(), strict=True))
    return torch.tensor([known[key] for key in zip(image.tolist(), timestep.tolist(), strict=True)])
