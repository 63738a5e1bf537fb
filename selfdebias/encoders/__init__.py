"""Image encoders: images to unit vectors, with the preprocessing inside."""

from __future__ import annotations

from pathlib import Path

from selfdebias.config.rules import nearest
from selfdebias.encoders.base import Encoder, PixelEncoder, PretrainedEncoder
from selfdebias.encoders.inception import InceptionFeatures
from selfdebias.encoders.pretrained import ClipEncoder, Dinov2Encoder, EfficientNetLite0Encoder, SiglipEncoder
from selfdebias.storage.weight_sources import ModelSource
from selfdebias.testbed import HERE

CLASSES = (ClipEncoder, Dinov2Encoder, SiglipEncoder)


def encoder_from(pretrained: str, revision: str | None = None) -> PretrainedEncoder:
    """Return the encoder of a pretrained model, by the type that its configuration states.

    Args:
        pretrained: ``shipped:NAME``, a folder in transformers format, or ``owner/name`` on the hub.
        revision: branch, tag or commit on the hub; None for the main branch.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if it is of a type that no encoder here loads.

    Example:
        >>> encoder_from("shipped:emoji_clip").dim
        64
    """
    if "/" not in pretrained and not Path(pretrained).exists() and (HERE / pretrained).is_dir():
        raise ValueError(
            f"`encoder` must be a folder, owner/name or shipped:NAME, got {pretrained!r}: did you mean shipped:{pretrained}?"
        )
    shipped, name = f"shipped:{pretrained.removeprefix('shipped:')}", pretrained.removeprefix("shipped:")
    if shipped == pretrained and not (name.isidentifier() and (HERE / name).is_dir()):
        known = sorted(f"shipped:{it.parent.name}" for it in HERE.glob("*/config.json"))
        near = nearest(pretrained, known)
        meant = f"did you mean {near}?" if near else f"it is none of {', '.join(known)}."
        raise FileNotFoundError(f"`encoder` must be a folder, owner/name or shipped:NAME, got {pretrained!r}: {meant}")
    types = tuple(kind for encoder in CLASSES for kind in encoder.types)
    source = ModelSource("encoder", pretrained, revision, types=types)
    source.check()
    found = source.read("config.json")["model_type"]
    return next(encoder for encoder in CLASSES if found in encoder.types)(pretrained, revision)


__all__ = [
    "ClipEncoder",
    "Dinov2Encoder",
    "EfficientNetLite0Encoder",
    "Encoder",
    "InceptionFeatures",
    "PixelEncoder",
    "PretrainedEncoder",
    "SiglipEncoder",
    "encoder_from",
]
