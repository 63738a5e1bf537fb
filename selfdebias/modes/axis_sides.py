"""On which side of each axis an embedding is, and the cell that its sides make together."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array = NDArray[np.float64]
Sides = NDArray[np.int64]


class AxisSides(NamedTuple):
    """Reads A axes off embeddings.

    Attributes:
        origin: (d,) float64, where all coordinates are 0.
        duals: (A, d) float64; coordinates are ``(e - origin) @ duals.T``, about 0 and 1 on the two sides.
    """

    origin: Array
    duals: Array

    def coordinates(self, e: Array) -> Array:
        """Return the coordinates (N, A) of embeddings (N, d)."""
        return (np.asarray(e, dtype=np.float64) - self.origin) @ self.duals.T

    def sides(self, e: Array) -> Sides:
        """Return the sides (N, A) int64, 0 or 1: 1 where the coordinate is above one half."""
        return (self.coordinates(e) > 0.5).astype(np.int64)

    def labels(self, e: Array) -> Sides:
        """Return the cell (N,) int64 of embeddings (N, d)."""
        return cells_of(self.sides(e))

    @classmethod
    def read(cls, discovered: Path) -> Self:
        """Read the axes that a discover stage found."""
        found = load_file(Path(discovered) / "centers.safetensors")
        return cls(found["origin"].astype(np.float64), found["duals"].astype(np.float64))


def cells_of(sides: Sides) -> Sides:
    """Return the cell (N,) int64 of sides (N, A): axis a counts ``2 ** a``.

    Example:
        >>> cells_of(np.array([[0, 0], [1, 0], [0, 1], [1, 1]])).tolist()
        [0, 1, 2, 3]
    """
    return sides @ (2 ** np.arange(sides.shape[1]))


def sides_of(cells: Sides, axes: int) -> Sides:
    """Return the sides (N, A) int64 of cells (N,).

    Example:
        >>> sides_of(np.array([0, 1, 2, 3]), 2).tolist()
        [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    return (np.asarray(cells)[:, None] >> np.arange(axes)) & 1
