"""Numbers as `results.json` holds them: a value with what belongs to it, or null with the reason. Never NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.bootstrap import BlockBootstrap, Interval, block_sums

Entry = dict[str, Any]


def missing(reason: str, **more: Any) -> Entry:
    """Return the entry of a number that cannot be computed.

    Example:
        >>> missing("no image was turned", n=0)
        {'value': None, 'reason': 'no image was turned', 'n': 0}
    """
    return {"value": None, "reason": reason, **more}


def measured(value: float, interval: Interval | None = None, **more: Any) -> Entry:
    """Return the entry of a number, with `low`, `high` and `blocks` where an interval was asked for.

    Bounds are null with one block, as it leaves nothing to resample.

    Raises:
        ValueError: if the value is not finite; say why with `missing`.

    Example:
        >>> measured(0.5, Interval(0.4, 0.6, 4), n=128)
        {'value': 0.5, 'low': 0.4, 'high': 0.6, 'blocks': 4, 'n': 128}
    """
    if not math.isfinite(value):
        raise ValueError(f"`value` must be finite, got {value}.")
    bounds = {} if interval is None else {"low": interval.low, "high": interval.high, "blocks": interval.blocks}
    return {"value": float(value), **bounds, **more}


def mean_of(
    values: ArrayLike, rows: NDArray[np.bool_], blocks: ArrayLike, resampling: BlockBootstrap | None, reason: str
) -> Entry:
    """Return the entry of the mean of `values`, (N,), over the chosen rows, with its interval over blocks.

    Args:
        values: what is outside the rows may be of any value.
        rows: (N,) bool.
        blocks: (N,) integers.
        resampling: repeats, seed and level; None asks for no interval.
        reason: said where no row is chosen.

    Example:
        >>> entry = mean_of([1.0, 3.0, np.nan], np.array([True, True, False]), [0, 0, 1], BlockBootstrap(9), "none")
        >>> entry["value"], entry["n"], entry["blocks"]
        (2.0, 2, 2)
    """
    if not rows.any():
        return missing(reason, n=0)
    chosen, n = np.where(rows, np.asarray(values, dtype=np.float64), 0.0), int(rows.sum())
    if resampling is None:
        return measured(chosen[rows].mean(), n=n)
    sums = block_sums(np.stack([chosen, rows], 1), blocks)

    def mean(total: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.divide(total[:, 0], total[:, 1], out=np.full(len(total), np.nan), where=total[:, 1] > 0)

    return measured(chosen[rows].mean(), resampling.interval(sums, mean), n=n)
