"""How a projector reads the places of `h_t`, and how many of them are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 64  # that the convolutional reader leaves
PLACES = 8  # along each side, at most, that are stored of an activation and read; longer sides are averaged to them


def at_places(h: Tensor, places: Sequence[int]) -> Tensor:
    """Return activations (B, C, H, W) averaged to places (h, w), differentiably; as they are where they have them."""
    return h if tuple(h.shape[2:]) == tuple(places) else F.adaptive_avg_pool2d(h, (places[0], places[1]))


def averaged(h: Tensor) -> Tensor:
    """Return activations (B, C, H, W) as float32, sides longer than `PLACES` averaged to that, differentiably."""
    return at_places(h.float(), [min(side, PLACES) for side in h.shape[2:]])


def stored(h: Tensor) -> Tensor:
    """Return activations (B, C, H, W) as they are stored: `averaged`, as float16."""
    return averaged(h).half()


class PooledReader(nn.Module):
    """The mean over space: (B, C, H, W) to (B, C)."""

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.width = shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width)."""
        return x.mean(dim=(2, 3))


class FlattenedReader(nn.Module):
    """Every place for itself: (B, C, H, W) to (B, C H W)."""

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.width = math.prod(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width)."""
        return x.flatten(1)


class ConvolutionalReader(nn.Module):
    """A 3 x 3 convolution to `CHANNELS` channels, then every place for itself: (B, C, H, W) to (B, CHANNELS H W).

    Sides longer than `PLACES` are averaged to that first, as activations were that earlier versions stored whole.
    """

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.places = (min(shape[1], PLACES), min(shape[2], PLACES))
        self.convolution = nn.Conv2d(shape[0], CHANNELS, 3, padding=1)
        self.width = CHANNELS * math.prod(self.places)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width)."""
        return F.silu(self.convolution(F.adaptive_avg_pool2d(x, self.places))).flatten(1)


Reader = PooledReader | FlattenedReader | ConvolutionalReader
READERS: Mapping[str, type[Reader]] = {
    "flattened": FlattenedReader,
    "pooled": PooledReader,
    "convolutional": ConvolutionalReader,
}
