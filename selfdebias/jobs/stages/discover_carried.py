"""Discover for a prompt whose bank was fitted elsewhere: looks for the bank's modes among the prompt's own images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from selfdebias.jobs.stages.discover import write_modes, write_sides
from selfdebias.jobs.stages.fitted import FittedImages
from selfdebias.modes.axis_sides import AxisSides
from selfdebias.modes.carried import read_carried
from selfdebias.modes.sphere import unit

VERSION = 1
CONFIG: tuple[str, ...] = ()
KEPT = (
    "silhouette",
    "silhouettes",
    "stability",
    "stabilities",
    "depths",
    "noise",
    "components",
    "words",
    "space",
)  # they are the modes', wherever they turn up
KEPT_OF_AXES = ("axes", "silhouette", "stability", "words", "space")


def discover_carried(folder: Path, collected: Path, found: Path) -> None:
    """Write what `discover` writes, with the modes of another stage: a mode may have no image here.

    Args:
        folder: the stage's own folder.
        collected: folder of the prompt's collect stage.
        found: folder of the discover stage that found the modes.
    """
    images, modes = FittedImages({"own": collected}), read_carried(found)
    facts = json.loads((found / "modes.json").read_text())
    if isinstance(modes, AxisSides):
        _write_carried_axes(folder, images, modes, facts, found)
        return
    centers = unit(np.mean([modes.centers_among(e) for e in _by_prompt(images)], axis=0))
    kept = {name: facts[name] for name in KEPT}
    (store,) = images.stores
    write_modes(folder, store.ids(), images.labels(modes), centers, modes.offsets, kept, store.images)


def _write_carried_axes(
    folder: Path, images: FittedImages, axes: AxisSides, facts: Mapping[str, Any], found: Path
) -> None:
    """Write what `write_axes` writes, of axes that were found on another prompt."""
    (store,) = images.stores
    tensors = load_file(found / "centers.safetensors")
    write_sides(
        folder, store.ids(), axes.sides(images.e), tensors, {name: facts[name] for name in KEPT_OF_AXES}, store.images
    )


def _by_prompt(images: FittedImages) -> list[np.ndarray]:
    """Return the embeddings of each template's images."""
    prompts = np.asarray(images.prompt_of)
    return [images.e[prompts == prompt] for prompt in images.prompts]
