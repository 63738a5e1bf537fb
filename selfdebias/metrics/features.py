"""Feature matrices at the boundary: one row an image, floating point, checked once and never copied whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
