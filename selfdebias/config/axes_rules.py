"""What the hyper-parameters of axes may be; here, since the command line asks at once and the search itself is slow to come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST = 8  # axes: their cells are 2 to the power of them


def check_axes(values: Mapping[str, Any], n: int) -> None:
    """Refuse hyper-parameters of `FactorialAxes` out of range, and too few vectors.

    Args:
        values: the hyper-parameters by name; what else is among them is not looked at.
        n: vectors that axes are looked for in.

    Raises:
        ValueError: with the first that is wrong.
    """
    if values["space"] != "image":
        raise ValueError(f"`clustering.space` must be image for axes, got {values['space']!r}.")
    factors = values["factors"]
    counts = list(factors) if isinstance(factors, list | tuple) else [factors]
    if not counts or any(isinstance(m, bool) or not isinstance(m, int) or not 1 <= m <= MOST for m in counts):
        raise ValueError(f"`clustering.factors` must be whole numbers in [1, {MOST}], got {factors}.")
    for name, least in (("halves", 2), ("restarts", 1)):
        if isinstance(values[name], bool) or not isinstance(values[name], int) or values[name] < least:
            raise ValueError(f"`clustering.{name}` must be a whole number of at least {least}, got {values[name]}.")
    for name in ("variance", "recurrence", "agreement"):
        most = "1)" if name == "agreement" else "1]"
        if not _share(values[name]) or (name == "agreement" and values[name] == 1):
            raise ValueError(f"`clustering.{name}` must be a number in (0, {most}, got {values[name]}.")
    least = 4 * 2 ** max(counts)
    if n < least:
        raise ValueError(
            f"`collect.n_images` must be at least {least} to find axes, four for each combination of {max(counts)} factors, "
            f"got {n}: collect more, or look for a partition (clustering=spectral)."
        )


def _share(value: Any) -> bool:
    """Whether a value is a number in (0, 1]."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
