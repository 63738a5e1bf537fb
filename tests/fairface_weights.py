"""Random weights under the names, and with the shapes, that FairFace's published file has; written out by hand."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCKS = {1: (64, 3), 2: (128, 4), 3: (256, 6), 4: (512, 3)}  # by stage: channels, blocks


def published(seed: int = 0, counters: bool = True) -> dict[str, Tensor]:
    """Random weights under the names and with the shapes of the published file."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def conv(name: str, wide: int, narrow: int, side: int) -> None:
        scale = (2 / (narrow * side * side)) ** 0.5
        weights[f"{name}.weight"] = torch.randn(wide, narrow, side, side, generator=generator) * scale

    def norm(name: str, wide: int) -> None:
        for part, low, high in (
            ("weight", 0.5, 1.0),
            ("bias", -0.2, 0.2),
            ("running_mean", -0.3, 0.3),
            ("running_var", 0.8, 1.5),
        ):
            weights[f"{name}.{part}"] = torch.rand(wide, generator=generator) * (high - low) + low
        if counters:
            weights[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    narrow = 64
    for stage, (wide, blocks) in BLOCKS.items():
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            conv(f"{name}.conv1", wide, narrow, 3)
            norm(f"{name}.bn1", wide)
            conv(f"{name}.conv2", wide, wide, 3)
            norm(f"{name}.bn2", wide)
            if narrow != wide:
                conv(f"{name}.downsample.0", wide, narrow, 1)
                norm(f"{name}.downsample.1", wide)
            narrow = wide
    weights["fc.weight"] = torch.randn(18, 512, generator=generator) * 0.05
    weights["fc.bias"] = torch.randn(18, generator=generator)
    return weights
