"""Discover on a mixture of prompts: clusters the embeddings of all of them, each prompt's mean taken away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.modes.carried import RESIDUAL, mean_offsets, residual, unit
from selfdebias.stages.discover import stability_of, write_modes
from selfdebias.stages.fitted import FittedImages

VERSION = 1
CONFIG = ("clustering", "vocabulary", "discover")


def discover_mixture(folder: Path, fitted: Mapping[str, Path], clustering: Any, vocabulary: Any, encoder: Any) -> None:
    """Write what `discover` writes, of the images of several prompts, numbered in the order of the folders.

    Without the means, clustering finds the prompts.

    Args:
        folder: the stage's own folder.
        fitted: finished collect folders by name.
        clustering, vocabulary, encoder: as in `discover`.
    """
    images = FittedImages(fitted)
    apart = unit(residual(images.e, images.prompt_of))
    stability = stability_of(clustering, apart)
    clustering.fit(apart)
    labels = clustering.labels_
    facts = {
        "silhouette": clustering.silhouettes_[int(labels.max()) + 1],
        "silhouettes": {str(n): value for n, value in clustering.silhouettes_.items()},
        "stability": stability,
        "components": clustering.components_,
        "words": vocabulary.describe(apart, labels, encoder),
        "space": RESIDUAL,
        "prompts": list(images.prompts),
    }
    offsets = mean_offsets(images.e, labels, images.prompt_of)
    write_modes(folder, range(len(images)), labels, clustering.centers_, offsets, facts, images.images)
