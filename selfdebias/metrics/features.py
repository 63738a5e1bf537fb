"""Features of images: checked once at the boundary, and those that guidance does not act in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Array = NDArray[Any]  # float32 or float64
_ROWS = 1024  # rows of a kernel or distance matrix held at a time


def features(x: ArrayLike, name: str = "x", least: int = 1) -> Array:
    """Return `x` as (N, d), refusing another shape, values that are not finite, or fewer rows than `least`.

    Float32 stays float32, since 50,000 Inception features take 0.4 GB as it is; whoever sums over them takes them to
    float64 chunk by chunk. Everything else becomes float64.
    """
    x = np.asarray(x)
    x = x if x.dtype == np.float32 else x.astype(np.float64, copy=False)
    if x.ndim != 2:
        raise ValueError(f"`{name}` must have shape (N, d), got {x.shape}.")
    if len(x) < least:
        raise ValueError(f"`{name}` must have at least {least} rows, got {len(x)}.")
    if not all(np.isfinite(x[rows]).all() for rows in chunks(len(x))):
        raise ValueError(f"`{name}` must be finite, got NaN or infinite values.")
    return x


def paired(x: ArrayLike, y: ArrayLike, least: int = 1) -> tuple[Array, Array]:
    """Return two feature matrices of one width, each with at least `least` rows."""
    x, y = features(x, "x", least), features(y, "y", least)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"`x` and `y` must have the same width, got {x.shape[1]} and {y.shape[1]}.")
    return x, y


def chunks(n: int) -> Iterator[slice]:
    """Cut `n` rows into slices that are small enough for a dense matrix over each."""
    return (slice(start, min(start + _ROWS, n)) for start in range(0, n, _ROWS))


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
