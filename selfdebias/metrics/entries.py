"""Numbers as `results.json` holds them: a value with what belongs to it, or null with the reason. Never NaN."""

from __future__ import annotations

import math
from typing import Any

from selfdebias.metrics.bootstrap import Interval

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
