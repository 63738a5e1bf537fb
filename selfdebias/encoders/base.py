"""The contract of image encoders."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Encoder(Protocol):
    """Maps images to unit vectors: frozen, in evaluation mode, differentiable in the images, with its preprocessing inside.

    A configuration can name subclasses alone; `SelfDebias.fit` takes any callable of this form.

    Attributes:
        dim: int, width of the embeddings.
        encoder_id: str, the name by which a judge tells whether it shares this encoder.
        told: str, what it was told in its training, as the end of "which was told ..."; "" where that is not known.
    """

    told: str = ""

    def __call__(self, images: Tensor) -> Tensor:
        """Return unit vectors (B, dim) float32 for images (B, 3, H, W) float32 in [0, 1]."""
        ...
