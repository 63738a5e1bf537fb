"""Image encoders: images to unit vectors, with the preprocessing inside."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Encoder(Protocol):
    """What an image encoder offers: frozen, in evaluation mode, differentiable in the images."""

    dim: int
    encoder_id: str

    def __call__(self, images: Tensor) -> Tensor:
        """Return unit vectors (B, dim) float32 for images (B, 3, H, W) float32 in [0, 1]."""
        ...


from selfdebias.encoders.clip import ClipEncoder  # noqa: E402

__all__ = ["ClipEncoder", "Encoder"]
