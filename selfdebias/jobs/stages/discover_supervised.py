"""Discover with labels: the modes are the classes that a judge sees. The baseline that is told the attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score
from torch import Tensor

from selfdebias.jobs.stages.discover import write_modes
from selfdebias.jobs.stages.fitted import FittedImages
from selfdebias.judges import Judge, classify
from selfdebias.metrics.entries import missing
from selfdebias.modes.estimator import IMAGE
from selfdebias.modes.sphere import by_size, centers_of, mean_offsets

VERSION = 1
CONFIG = ("bank", "judge")
AT_ONCE = 64  # images in one call of the judge


def discover_supervised(folder: Path, collected: Path, bank: Any, judge: Judge) -> None:
    """Write what `discover` writes; the modes are the classes of one attribute that occur, the largest first.

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
    images, names = FittedImages({"own": collected}), judge.classes[bank.attribute]
    classes, unclassified = judged(judge, bank.attribute, images)
    labels, order = by_size(classes)
    if len(order) < 2:
        raise ValueError(
            f"`bank.attribute` must be one with two classes among the collected images, got {bank.attribute!r}, of which all "
            f"show {names[order[0]]!r}: collect more, or carry a bank over from a prompt that shows both (bank=carried)."
        )
    silhouette = float(silhouette_score(images.e, labels, metric="cosine"))
    facts = {
        "silhouette": silhouette,
        "silhouettes": {str(len(order)): silhouette},
        "stability": missing("the modes are a judge's classes", n=len(images)),
        "stabilities": {},
        "depths": [0] * len(order),
        "noise": 0,
        "components": 1,
        "space": IMAGE,
        "words": [[] for _ in order],
        "classes": [names[c] for c in order],
        "absent": [name for c, name in enumerate(names) if c not in order],
        "unclassified": unclassified,
    }
    offsets = mean_offsets(images.e, labels, images.prompt_of)
    store = images.stores[0]
    write_modes(folder, store.ids(), labels, centers_of(images.e, labels), offsets, facts, store.images)


def judged(judge: Judge, attribute: str, images: FittedImages) -> tuple[NDArray[np.int64], int]:
    """Return the likeliest class of each image, (N,) int64, and of how many images the judge is not sure."""
    shown = torch.arange(len(images)).split(AT_ONCE)
    probabilities: Tensor = torch.cat([judge(images.images(rows.tolist()))[attribute].cpu() for rows in shown])
    classes, unsure = classify(probabilities, judge.threshold)
    return classes.numpy(), int(unsure.sum())
