"""Features that guidance does not act in, of each image: what the judge sees, and the image's own pixels, made small.

Guidance moves images in the encoder's space, so quality that is measured there is measured by what was aimed at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

JUDGE, PIXELS = "judge", "pixels"
SIDE = 16  # cells across and down


def pixel_averages(images: Tensor) -> Tensor:
    """Average each image over a grid of 16 x 16 cells, by colour.

    Args:
        images: (B, 3, H, W) float in [0, 1].

    Returns:
        (B, 768) of the same kind and range; cells of an image below 16 px share pixels.

    Example:
        >>> pixel_averages(torch.full((2, 3, 64, 64), 0.5)).unique().tolist()
        [0.5]
    """
    return F.adaptive_avg_pool2d(images, SIDE).flatten(1)


def judged_with_features(judge: Any, encoder: Any, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Let the judge look at images once, and keep what it says and what it sees.

    Args:
        judge: images to probabilities; with `features` and `from_features` where it has them.
        encoder: what guidance acts in; a judge that rests on it sees nothing of its own.
        images: (B, 3, H, W) float32 in [0, 1].

    Returns:
        by attribute, probabilities (B, C); and by name, features (B, d) that guidance does not act in, on the CPU, float16.

    Raises:
        ValueError: if the judge's features are no (B, d) tensor.
    """
    spaces = {PIXELS: pixel_averages(images)}
    seen = features_of(judge, encoder)
    if seen is None:
        probabilities = judge(images)
    else:
        found = seen(images)
        if not isinstance(found, Tensor) or found.shape[:-1] != (len(images),):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"`judge.features` must return one row of features an image, got {got}.")
        spaces = {JUDGE: found, **spaces}
        probabilities = judge.from_features(found) if hasattr(judge, "from_features") else judge(images)
    return probabilities, {name: compact(x) for name, x in spaces.items()}


def features_of(judge: Any, encoder: Any) -> Callable[[Tensor], Tensor] | None:
    """Return the judge's `features`; None where it has none, or where they are the encoder's own."""
    shared = judge.encoder_id is not None and judge.encoder_id == getattr(encoder, "encoder_id", None)
    found = getattr(judge, "features", None)
    return None if shared or not callable(found) else found


def compact(x: Tensor) -> Tensor:
    """Return features on the CPU as float16, or as float32 where they are too large for it.

    Example:
        >>> compact(torch.tensor([[0.5]])).dtype, compact(torch.tensor([[1e6]])).dtype
        (torch.float16, torch.float32)
    """
    x = x.detach().cpu().float()
    return x.half() if x.abs().max(dim=-1).values.lt(torch.finfo(torch.float16).max).all() else x
