"""The control: an encoder that knows nothing."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.encoders.base import Encoder


class PixelEncoder(Encoder):
    """A fixed random projection of downsampled pixels: what is left of an effect when the encoder has learned nothing.

    Args:
        dim: width of the embeddings, at least 2.
        size: side that images are scaled to, in pixels, at least 1.
        seed: of the projection.

    Raises:
        ValueError: if a value is out of range.

    Example:
        >>> PixelEncoder(dim=8, size=4, seed=0)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8])
    """

    told = "nothing: it is not trained"

    def __init__(self, dim: int, size: int, seed: int):
        for name, value, least in (("dim", dim, 2), ("size", size, 1), ("seed", seed, 0)):
            if value < least:
                raise ValueError(f"`encoder.{name}` must be at least {least}, got {value}.")
        self.dim, self.size, self.seed = dim, size, seed
        generator = torch.Generator().manual_seed(seed)
        self._projection = torch.randn(3 * size * size, dim, generator=generator) / (3 * size * size) ** 0.5

    @property
    def encoder_id(self) -> str:
        """The name by which a judge knows whether it shares this encoder."""
        return f"pixels-{self.size}-{self.dim}-{self.seed}"

    def fingerprint(self) -> str:
        """Return a hash of the projection."""
        return hashlib.sha256(self._projection.numpy().tobytes()).hexdigest()

    def __call__(self, images: Tensor) -> Tensor:
        """Return unit embeddings (B, dim) float32 of images (B, 3, H, W) float32 in [0, 1]; grey of 0.5 is the origin."""
        small = F.interpolate(images - 0.5, size=(self.size, self.size), mode="bilinear", antialias=True)
        return F.normalize(small.flatten(1) @ self._projection.to(images), dim=-1)
