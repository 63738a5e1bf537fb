"""Discover on a mixture of prompts: clusters the embeddings of all of them, each prompt's mean taken away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.jobs.stages.discover import facts_of, stability_of, write_modes
from selfdebias.jobs.stages.fitted import FittedImages
from selfdebias.modes.estimator import RESIDUAL
from selfdebias.modes.sphere import centers_among, mean_offsets, residual, unit

VERSION = 2
CONFIG = ("clustering", "vocabulary", "discover")


def discover_mixture(folder: Path, fitted: Mapping[str, Path], clustering: Any, vocabulary: Any, encoder: Any) -> None:
    """Write what `discover` writes, of the images of several prompts, numbered in the order of the folders.

    Without the means, clustering finds the prompts.

    Args:
        folder: the stage's own folder.
        fitted: finished collect folders by name.
        clustering, vocabulary, encoder: as in `discover`; the space is `residual`, whatever the clustering says.
    """
    images = FittedImages(fitted)
    apart = unit(residual(images.e, images.prompt_of))
    clustering.fit(apart)
    labels = clustering.labels_
    facts = {
        **facts_of(clustering),
        "stability": stability_of(clustering, apart),
        "words": vocabulary.describe(apart, labels, encoder),
        "space": RESIDUAL,
        "prompts": list(images.prompts),
    }
    centers = centers_among(images.e, labels, images.prompt_of)
    offsets = mean_offsets(images.e, labels, images.prompt_of)
    write_modes(folder, range(len(images)), labels, centers, offsets, facts, images.images)
