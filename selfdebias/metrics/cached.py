"""Embeddings that an earlier evaluation wrote, taken again as a reference: who made them, and of which images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from selfdebias.judges import Judge
from selfdebias.metrics.arms import ArmData, read_arm
from selfdebias.metrics.features import JUDGE
from selfdebias.metrics.modes import assign_modes
from selfdebias.modes.placement import AxisSides
from selfdebias.storage.provenance import ORIGIN, read_origin


def identity(part: Any) -> str:
    """Class of a judge or an encoder, hash of its weights, and hash of a judge's classes: who looked at an image.

    Example:
        >>> identity(1.5)
        'builtins.float'
    """
    words = [f"{type(part).__module__}.{type(part).__qualname__}"]
    if hasattr(part, "fingerprint"):
        words.append(part.fingerprint())
    if hasattr(part, "classes"):
        words.append(hashlib.sha256(json.dumps(part.classes).encode()).hexdigest()[:16])
    return " ".join(words)


def origin_of(judge: Judge, encoder: Any, extractor: Any, images: str, key: str) -> dict[str, str]:
    """What is noted in the file of an arm, so that its numbers can be taken as a reference later.

    Args:
        judge: Images to probabilities.
        encoder: Images to unit embeddings.
        extractor: Images to the features that they are compared by; None for the encoder's embeddings.
        images: sha256 of the names and bytes of all image files.
        key: Key of the stage that drew them, "" if none did.
    """
    features = "" if extractor is None else identity(extractor)
    return {"judge": identity(judge), "encoder": identity(encoder), "features": features, "sha256": images, "key": key}


def load_reference(
    path: Path, arm: str, judge: Judge, centers: ArrayLike | AxisSides | None
) -> tuple[ArmData, dict[str, str]]:
    """Read a cached reference and its origin, and place the images in the modes of this evaluation.

    Args:
        path: A file that `save_arm` wrote.
        arm: The name to give it.
        judge: This evaluation's, whose threshold holds.
        centers: (K, d), or None where no modes are known.

    Raises:
        ValueError: If the embeddings have another width than the centres.
    """
    data = read_arm(path)
    origin = read_origin(path)
    own = origin["judge"] == identity(judge)  # another judge's features are of another space
    spaces = {name: x for name, x in data.spaces.items() if own or name != JUDGE}
    modes = assign_modes(data.e, centers)
    data = replace(data, arm=arm, threshold=judge.threshold, modes=modes, psnr=None, spaces=spaces)
    return data, {name: origin[name] for name in ORIGIN}
