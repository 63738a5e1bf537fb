"""Seeds: one for each image, so that no two stages and no two runs share an image."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
import torch


def image_seeds(stage: str, seed: int, ids: Iterable[int]) -> list[int]:
    """Return the seed of each image, from ``SeedSequence(stage, seed, id)``.

    Args:
        stage: name of the stage that draws the images, such as ``collect``.
        seed: the seed of the run, at least 0.
        ids: image ids, at least 0.

    Returns:
        Integers in [0, 2^63), one for each id; they depend on nothing else.

    Raises:
        ValueError: if `seed` is negative.

    Example:
        >>> image_seeds("collect", 0, [3, 4]) == image_seeds("collect", 0, range(5))[3:]
        True
        >>> set(image_seeds("collect", 0, range(9))) & set(image_seeds("generate", 0, range(9)))
        set()
    """
    if seed < 0:
        raise ValueError(f"`seed` must be at least 0, got {seed}.")
    code = zlib.crc32(stage.encode())
    return [int(np.random.SeedSequence((code, seed, k)).generate_state(1, np.uint64)[0] >> 1) for k in ids]


def generators(seeds: Iterable[int]) -> list[torch.Generator]:
    """Return one CPU generator for each image: noise made on the CPU is the same on every device."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
