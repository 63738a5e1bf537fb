"""Discover: find the modes among collected images.

The banks differ by what is clustered: the embeddings of one prompt's images or of several prompts', projected vectors, a judge's
classes, or nothing, where the modes of another prompt are looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from sklearn.metrics import silhouette_score
from torch import Tensor

from selfdebias.jobs.stages.collected import CollectedImages
from selfdebias.jobs.stages.modes_file import write_modes, write_sides
from selfdebias.jobs.stages.project import embed
from selfdebias.judges import Judge, classify
from selfdebias.metrics.modes import mode_stability
from selfdebias.metrics.number import Number, missing
from selfdebias.modes.axes import FactorialAxes
from selfdebias.modes.bank_fit import fit_bank
from selfdebias.modes.estimator import IMAGE, ONE_MODE, RESIDUAL
from selfdebias.modes.over_time import ModesOverTime, follow_modes
from selfdebias.modes.placement import (
    AxisSides,
    by_size,
    centers_among,
    centers_of,
    mean_offsets,
    nearest,
    read_carried,
    residual,
    unit,
)
from selfdebias.modes.projection import SemanticProjector
from selfdebias.storage.atomic import read_json

VERSION, CONFIG = 5, ("clustering", "vocabulary", "discover")
VERSION_OF_SEVERAL, VERSION_PROJECTED = 2, 3
VERSION_SUPERVISED, CONFIG_SUPERVISED = 1, ("bank", "judge")
VERSION_CARRIED, CONFIG_CARRIED = 1, ()
AT_ONCE = 64  # images in one call of the judge
# What is said of modes, or of axes, wherever they turn up.
OF_MODES = ("silhouette", "silhouettes", "stability", "stabilities", "depths", "noise", "components", "words", "space")
OF_AXES = ("axes", "silhouette", "stability", "words", "space")


def discover(
    folder: Path, clustering: Any, vocabulary: Any, encoder: Any, collected: Path | None = None,
    fitted: Mapping[str, Path] | None = None,
) -> None:  # fmt: skip
    """Cluster embeddings of images; write ``modes.json``, the modes' centres and a contact sheet of each.

    Args:
        folder: the stage's own folder.
        clustering: a `ModeEstimator`, or `FactorialAxes`. In the space `residual`, and for the images of several prompts, it sees
            each embedding less the mean of its prompt's, as it would find the prompts otherwise; the centres that are written lie
            among the embeddings, where images of any prompt can be held against them.
        vocabulary: finds the captions that tell the modes apart.
        encoder: the one that collect used; its text tower reads the captions.
        collected: folder of the collect stage.
        fitted: folders of several collect stages in its place, whose images are numbered in their order.
    """
    images, several = CollectedImages.read(collected, fitted), fitted is not None
    if isinstance(clustering, FactorialAxes):
        _discover_axes(folder, images, clustering, vocabulary, encoder)
        return
    X, by_residual = images.e, several or clustering.space == RESIDUAL
    clustered = unit(residual(X, images.prompt_of)) if by_residual else X
    labels = clustering.fit(clustered).labels_
    centers = centers_among(X, labels, images.prompt_of) if by_residual else clustering.centers_
    facts = _facts_of(clustering, clustered)
    facts["words"] = vocabulary.describe(clustered if several else X, labels, encoder)
    if several:
        facts |= {"space": RESIDUAL, "prompts": list(images.prompts)}
    else:
        facts["placed"] = float(np.mean(nearest(X, centers) == labels))
    write_modes(folder, images, labels, centers, mean_offsets(X, labels, images.prompt_of), facts)


def _discover_axes(folder: Path, images: CollectedImages, axes: FactorialAxes, vocabulary: Any, encoder: Any) -> None:
    """Write axes: of each the ``recurrence`` and the ``agreement`` with which it came back. A model without one has one mode."""
    X = images.e
    sides = axes.fit(X).sides_
    count = sides.shape[1]
    if not count:
        alone, center = missing(ONE_MODE, n=len(X)).to_json(), unit(X.mean(axis=0, keepdims=True))
        facts = {"depths": [0], "silhouette": missing(ONE_MODE).to_json(), "stability": alone, "words": [[]]}
        write_modes(folder, images, np.zeros(len(X), dtype=np.int64), center, np.zeros_like(center), facts)
        return
    came_back = zip(axes.recurrence_, axes.agreement_, strict=True)
    facts = {
        "space": axes.space,
        "axes": [{"recurrence": float(r), "agreement": float(g)} for r, g in came_back],
        "silhouette": missing("axes are no partition").to_json(),
        "stability": Number(float(axes.agreement_.mean()), n=len(X)).to_json(),
        "words": [words for a in range(count) for words in vocabulary.describe(X, sides[:, a], encoder)],
    }
    means = [X[sides[:, a] == s].mean(axis=0) for a in range(count) for s in (0, 1)]
    tensors = {"centers": unit(np.stack(means)), "origin": axes.origin_, "duals": axes.duals_}
    write_sides(folder, images, sides, tensors, facts)


def discover_carried(folder: Path, collected: Path, found: Path) -> None:
    """Look for the modes of another discover stage among a prompt's own images: a mode may have no image here.

    Args:
        folder: the stage's own folder.
        collected: folder of the prompt's collect stage.
        found: folder of the discover stage that found the modes.
    """
    images, modes, facts = CollectedImages([collected]), read_carried(found), read_json(found / "modes.json")
    if isinstance(modes, AxisSides):
        kept = {name: facts[name] for name in OF_AXES} | {"carried": True}
        write_sides(folder, images, modes.sides(images.e), load_file(found / "centers.safetensors"), kept)
        return
    prompts = np.asarray(images.prompt_of)  # one for each template
    centers = unit(np.mean([modes.centers_among(images.e[prompts == prompt]) for prompt in images.prompts], axis=0))
    kept = {name: facts[name] for name in OF_MODES} | {"carried": True}
    write_modes(folder, images, images.labels(modes), centers, modes.offsets, kept)


def discover_supervised(folder: Path, collected: Path, bank: Any, judge: Judge) -> None:
    """Take a judge's classes for modes, the largest first. The oracle baseline.

    Args:
        folder: the stage's own folder.
        collected: folder of the collect stage.
        bank: names the attribute.
        judge: looks at the images. An image that it is not sure of takes its likeliest class; ``modes.json`` counts them as
            ``unclassified``, and lists the classes without an image as ``absent``.

    Raises:
        ValueError: if fewer than two classes occur.

    References:
        Parihar et al., Balancing Act, arXiv 2402.18206: guidance of h-space towards a distribution over labelled classes.
    """
    images, names = CollectedImages([collected]), judge.classes[bank.attribute]
    shown = torch.arange(len(images)).split(AT_ONCE)
    probabilities = torch.cat([judge(images.images(rows.tolist()))[bank.attribute].cpu() for rows in shown])
    classes, unsure = classify(probabilities, judge.threshold)
    labels, order = by_size(classes.numpy())
    if len(order) < 2:
        raise ValueError(
            f"`bank.attribute` must be one with two classes among the collected images, got {bank.attribute!r}, of which all "
            f"show {names[order[0]]!r}: collect more, or carry a bank over from a prompt that shows both (bank=carried)."
        )
    silhouette = float(silhouette_score(images.e, labels, metric="cosine"))
    facts = {
        "silhouette": silhouette, "silhouettes": {str(len(order)): silhouette}, "stabilities": {},
        "stability": missing("the modes are a judge's classes", n=len(images)).to_json(),
        "depths": [0] * len(order), "noise": 0, "components": 1, "space": IMAGE, "words": [[] for _ in order],
        "classes": [names[c] for c in order], "absent": [name for c, name in enumerate(names) if c not in order],
        "unclassified": int(unsure.sum()),
    }  # fmt: skip
    offsets = mean_offsets(images.e, labels, images.prompt_of)
    write_modes(folder, images, labels, centers_of(images.e, labels), offsets, facts)


def discover_projected(
    folder: Path, collected: Path, projected: Path, clustering: Any, vocabulary: Any, encoder: Any
) -> None:
    """Cluster projected vectors, as the paper does: each timestep by itself, and neighbours in time are matched.

    Writes ``bank.safetensors`` too: the centroids of the modes at each branch and timestep. Vectors of the conditional branch are
    clustered; the unconditional ones go with those of the same image and timestep. The centres that are written lie among the
    embeddings, so that images can be held against them whose activations nobody has.

    Args:
        folder: the stage's own folder.
        collected: folder of the collect stage.
        projected: folder of a project stage, of which the projector is read.
        clustering, vocabulary, encoder: as in `discover`.
    """
    images, phi = CollectedImages([collected]), SemanticProjector.load(projected / "projector.safetensors")
    data = images.activations(np.zeros(len(images), dtype=np.int64))
    z, image, timestep = embed(phi.eval(), data), data["id"], data["timestep"]
    cond = data["branch"] == phi.branches.index("cond")
    found = follow_modes(z[cond].double().numpy(), image[cond].numpy(), timestep[cond].double().numpy(), clustering)
    k, X, labels = len(found.depths), images.e, found.of_image
    modes = _of_activations(found, image, timestep, cond)
    bank = fit_bank(z, modes, timestep, data["branch"], phi.branches, torch.full((k,), 1 / k))
    bank = replace(bank, encoder=phi.encoder, depths=torch.from_numpy(found.depths))
    bank.save(folder / "bank.safetensors")
    centers = centers_of(X, labels)
    facts = {
        **_facts_of(found.fitted, z[cond & (timestep == found.reference)].double().numpy()),
        "depths": found.depths.tolist(),
        "placed": float(np.mean(nearest(X, centers) == labels)),
        "words": vocabulary.describe(X, labels, encoder),
        "timesteps": {"reference": found.reference, "clustered": found.clustered},
    }
    write_modes(folder, images, labels, centers, mean_offsets(X, labels, images.prompt_of), facts)


def _of_activations(found: ModesOverTime, image: Tensor, timestep: Tensor, cond: Tensor) -> Tensor:
    """Return the mode (M,) of each activation: the one that its image has at its timestep on the conditional branch."""
    own = zip(image[cond].tolist(), timestep[cond].tolist(), strict=True)
    known = dict(zip(own, found.labels.tolist(), strict=True))
    return torch.tensor([known[key] for key in zip(image.tolist(), timestep.tolist(), strict=True)])


def _facts_of(clustering: Any, clustered: np.ndarray) -> dict[str, Any]:
    """Return what ``modes.json`` says of how a fitted clustering came to its modes.

    Returns:
        ``depths`` by mode; ``silhouette``, null with a reason for one mode; ``stability``; ``silhouettes`` and ``stabilities`` of
        each k tried; ``noise``, images that were in no mode and went to the nearest; ``components`` of the graph; the ``space``.
    """
    silhouette = clustering.silhouette_
    return {
        "depths": clustering.depths_.tolist(),
        "silhouette": missing(ONE_MODE).to_json() if silhouette is None else silhouette,
        "stability": _stability_of(clustering, clustered),
        "space": clustering.space,
        "silhouettes": {str(n): value for n, value in clustering.silhouettes_.items()},
        "stabilities": {str(n): value for n, value in clustering.stabilities_.items()},
        "noise": clustering.noise_,
        "components": clustering.components_,
    }


def _stability_of(clustering: Any, e: np.ndarray) -> dict[str, Any]:
    """How far modes of two halves of the images agree, for a fitted clustering; null for one mode, and for too few images."""
    k = len(clustering.centers_)
    if k == 1:
        return missing(ONE_MODE, n=len(e)).to_json()
    if k in clustering.stabilities_:  # k was chosen by it, and fitting the halves anew would choose k once more in each
        return Number(float(clustering.stabilities_[k]), n=len(e)).to_json()
    try:
        return Number(mode_stability(lambda: deepcopy(clustering), e, seed=0), n=len(e)).to_json()
    except ValueError as error:
        return missing(f"half of the images: {error}", n=len(e)).to_json()
