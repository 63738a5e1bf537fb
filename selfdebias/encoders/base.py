"""The contract of image encoders, and what each was told in its training: that is not found without labels."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

SHIPPED = {
    "shipped:emoji_clip": "captions of the drawings, and nothing else",
    "shipped:emoji_clip_informed": "the attributes of each drawing, gender twice: that modes are these attributes is no evidence "
    "that they are found without labels",
    "shipped:emoji_simclr": "the drawings alone, without any text",
}


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


def told_of(encoder: Any) -> str:
    """Return what an encoder was told, as the end of a sentence: of a shipped one its own, else its class's `told`; "" without.

    Example:
        >>> from selfdebias.encoders import ClipEncoder
        >>> told_of(ClipEncoder("shipped:emoji_clip")), told_of(ClipEncoder("openai/clip-vit-base-patch32")), told_of(len)
        ('captions of the drawings, and nothing else', 'captions of images', '')
    """
    return SHIPPED.get(getattr(encoder, "encoder_id", ""), getattr(encoder, "told", ""))
