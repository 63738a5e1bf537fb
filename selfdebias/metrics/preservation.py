"""What guidance leaves alone: images of one arm against their vanilla twins, drawn from the same seeds."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from selfdebias.metrics.features import paired

Array = NDArray[np.float64]


def psnr(images: Tensor, twins: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image against its twin, `-10 log10(mean squared error)`.

    Args:
        images: (B, C, H, W) float in [0, 1].
        twins: the same shape and range.

    Returns:
        (B,) float64 in dB; infinite where image and twin are equal.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> psnr(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5)).round().tolist()
        [20.0]
    """
    if images.shape != twins.shape:
        raise ValueError(f"`twins` must have the shape {tuple(images.shape)} of `images`, got {tuple(twins.shape)}.")
    error = (images.double() - twins.double()).square().flatten(1).mean(1)
    return -10 * torch.log10(error)


def twin_cosine(e: ArrayLike, twin_e: ArrayLike) -> Array:
    """Cosine of each embedding with its twin's.

    Args:
        e: (N, d), no row of zeros.
        twin_e: (N, d), the same order.

    Returns:
        (N,) in [-1, 1].

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> twin_cosine([[2.0, 0.0]], [[0.5, 0.0]]).tolist()
        [1.0]
    """
    e, twin_e = (a.astype(np.float64, copy=False) for a in paired(e, twin_e, least=0))
    if len(e) != len(twin_e):
        raise ValueError(f"`twin_e` must have {len(e)} rows, got {len(twin_e)}.")
    return (e * twin_e).sum(1) / (np.linalg.norm(e, axis=1) * np.linalg.norm(twin_e, axis=1))


def kept(modes: ArrayLike, twin_modes: ArrayLike) -> NDArray[np.bool_]:
    """Tell which images are in the mode of their vanilla twin; the others were *turned*.

    Example:
        >>> kept([0, 1, 1], [0, 0, 1]).tolist()
        [True, False, True]
    """
    modes, twin_modes = np.asarray(modes), np.asarray(twin_modes)
    if modes.shape != twin_modes.shape:
        raise ValueError(f"`twin_modes` must have shape {modes.shape}, got {twin_modes.shape}.")
    return modes == twin_modes


def kept_share(modes: ArrayLike, twin_modes: ArrayLike) -> float:
    """Share of images in the mode of their twin; 1 minus it is the share turned.

    Example:
        >>> kept_share([0, 1, 1, 1], [0, 0, 1, 1])
        0.75
    """
    return float(kept(modes, twin_modes).mean())


def kept_cosine(e: ArrayLike, twin_e: ArrayLike, modes: ArrayLike, twin_modes: ArrayLike) -> float:
    """Mean cosine of kept images with their twins, NaN if none was kept.

    Example:
        >>> kept_cosine([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]], [0, 1], [0, 0])
        1.0
    """
    cosines = twin_cosine(e, twin_e)[kept(modes, twin_modes)]
    return float(cosines.mean()) if len(cosines) else float("nan")
