"""Drawings as tensors, and random views of them: a tinted background, a shift, a scale, a flip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from experiments.emoji_world.catalog import Drawing


def load_rgba(drawings: Sequence[Drawing], size: int) -> torch.Tensor:
    """Read drawings as premultiplied RGBA.

    Returns:
        (N, 4, size, size) float32 in [0, 1]; the colour channels are already multiplied with alpha.
    """
    stacked = np.stack([np.asarray(Image.open(d.path).convert("RGBA").resize((size, size))) for d in drawings])
    rgba = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255
    return torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)


def random_views(rgba: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Place each drawing at random (shift 8%, scale 80-100%, flip) on a random pale background.

    Args:
        rgba: (B, 4, H, W) premultiplied, float32 in [0, 1].
        generator: the only source of randomness.

    Returns:
        (B, 3, H, W) float32 in [0, 1].
    """
    n = len(rgba)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    scale = 1 / uniform(0.8, 1.0)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * flip, scale
    theta[:, :, 2] = uniform(-0.16, 0.16, 2)  # the whole width is 2: a shift of 8%
    grid = F.affine_grid(theta, list(rgba.shape), align_corners=False)
    placed = F.grid_sample(rgba, grid, padding_mode="zeros", align_corners=False)
    background = uniform(0.8, 1.0, 3)[:, :, None, None]
    return (placed[:, :3] + (1 - placed[:, 3:]) * background).clamp(0, 1)


def crops_and_colours(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Crop each image at random (60 to 100% of each side, scaled back), and change brightness, contrast and saturation (by 40%).

    Args:
        images: (B, 3, H, W) float32 in [0, 1].
        generator: the only source of randomness.

    Returns:
        (B, 3, H, W) float32 in [0, 1].

    References:
        Chen et al., arXiv 2002.05709, section 3; the hue stays.
    """
    n = len(images)
    scale = torch.rand(n, generator=generator) * 0.4 + 0.6
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - scale)[:, None]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    cropped = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    brightness, contrast, saturation = (torch.rand(3, n, 1, 1, 1, generator=generator) * 0.8 + 0.6).unbind()
    bright = cropped * brightness
    middle = bright.mean(dim=(1, 2, 3), keepdim=True)
    contrasted = (bright - middle) * contrast + middle
    grey = contrasted.mean(dim=1, keepdim=True)
    return ((contrasted - grey) * saturation + grey).clamp(0, 1)
