"""Numbers as `results.json` holds them: a value with what belongs to it, or null with the reason. Never NaN."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.bootstrap import Interval, block_sums
from selfdebias.metrics.intervals import mean_interval

Entry = dict[str, Any]
NO_INTERVAL = "no interval: resampled sets hold copies of images, which move it"


def missing(reason: str, **more: Any) -> Entry:
    """Return the entry of a number that cannot be computed.

    Example:
        >>> missing("no image was turned", n=0)
        {'value': None, 'reason': 'no image was turned', 'n': 0}
    """
    return {"value": None, "reason": reason, **more}


def measured(value: float, interval: Interval | None = None, **more: Any) -> Entry:
    """Return the entry of a number, with `low`, `high` and `blocks` where an interval was asked for.

    Bounds are null with one block, as it leaves nothing to resample; `reason` then says so. A distance also has `at_floor`.

    Raises:
        ValueError: if the value is not finite; say why with `missing`.

    Example:
        >>> measured(0.5, Interval(0.4, 0.6, 4), n=128)
        {'value': 0.5, 'low': 0.4, 'high': 0.6, 'blocks': 4, 'n': 128}
    """
    if not math.isfinite(value):
        raise ValueError(f"`value` must be finite, got {value}.")
    return {"value": float(value), **({} if interval is None else bounds(interval)), **more}


def bounds(interval: Interval) -> Entry:
    """Return an interval as a part of an entry.

    Example:
        >>> bounds(Interval(0.0, 0.1, 4, at_floor=True))
        {'low': 0.0, 'high': 0.1, 'blocks': 4, 'at_floor': True}
        >>> bounds(Interval(None, None, 1))
        {'low': None, 'high': None, 'blocks': 1, 'reason': 'no interval: one batch'}
    """
    entry = {name: value for name, value in asdict(interval).items() if name != "at_floor" or value is not None}
    if interval.low is None:
        why = {0: "no batch has an image", 1: "one batch"}.get(interval.blocks, "no resample has a value")
        entry["reason"] = f"no interval: {why}"
    return entry


def mean_of(
    values: ArrayLike,
    rows: NDArray[np.bool_],
    blocks: ArrayLike,
    level: float,
    reason: str,
    least: float = -np.inf,
    most: float = np.inf,
) -> Entry:
    """Return the entry of the mean of `values`, (N,), over the chosen rows, with its interval over blocks.

    Args:
        values: what is outside the rows may be of any value.
        rows: (N,) bool.
        blocks: (N,) integers.
        level: of the interval, in (0, 1).
        reason: said where no row is chosen.
        least: smallest value that there can be, for the interval.
        most: largest.

    Example:
        >>> entry = mean_of([1.0, 3.0, np.nan], np.array([True, True, False]), [0, 0, 1], 0.95, "none")
        >>> entry["value"], entry["n"], entry["blocks"]
        (2.0, 2, 1)
    """
    if not rows.any():
        return missing(reason, n=0)
    chosen = np.where(rows, np.asarray(values, dtype=np.float64), 0.0)
    sums = block_sums(np.stack([chosen, rows], 1), blocks)
    return measured(chosen[rows].mean(), mean_interval(sums, level).within(least, most), n=int(rows.sum()))


def all_missing(keys: Iterable[str], reason: str) -> dict[str, Entry]:
    """Return the same null for each key."""
    return {key: missing(reason) for key in keys}
