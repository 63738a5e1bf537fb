"""Transferred modes: found on the images of some prompts, and assigned to those of others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from selfdebias.modes.axis_sides import AxisSides
from selfdebias.modes.sphere import Labels, Vectors, nearest, unit
from selfdebias.storage.atomic import read_json, read_tensors


@dataclass(frozen=True)
class CarriedModes:
    """K modes in the encoder's space, apart from the prompt that they were found on.

    Args:
        centers: (K, d) unit centres where the modes were found.
        offsets: (K, d) mean of each mode less the mean of its prompt.
        by_mean: whether a prompt's own mean decides where a mode lies among its images. Without it the centres do as they are:
            of two modes, the side of an image is the sign of ``e . a`` on the axis ``a = unit(c_0 - c_1)``.
    """

    centers: Vectors
    offsets: Vectors
    by_mean: bool

    @classmethod
    def read(cls, discovered: Path) -> Self:
        """Read what a discover stage found: two modes go by their axis, more than two by the prompts' means."""
        tensors, _ = read_tensors(Path(discovered) / "centers.safetensors")
        centers, offsets = (tensors[name].double().numpy() for name in ("centers", "offsets"))
        return cls(centers, offsets, by_mean=len(centers) > 2)

    def centers_among(self, e: Vectors) -> Vectors:
        """Return where the modes lie among the images of one prompt.

        Args:
            e: (N, d) embeddings of images of one prompt.

        Returns:
            (K, d) unit centres.

        Example:
            >>> import numpy as np
            >>> modes = CarriedModes(np.eye(3), np.array([[0.3, 0, 0], [0, 0.3, 0], [0, 0, 0.3]]), by_mean=True)
            >>> modes.centers_among(np.array([[0.0, 0.6, 0.8]])).argmax(axis=1).tolist()
            [2, 1, 2]
        """
        return unit(e.mean(axis=0) + self.offsets) if self.by_mean else self.centers

    def labels(self, e: Vectors) -> Labels:
        """Return the mode of each of (N, d) embeddings of images of one prompt, (N,) int64: that with the nearest centre.

        Example:
            >>> import numpy as np
            >>> CarriedModes(np.eye(2), np.zeros((2, 2)), by_mean=False).labels(np.array([[0.9, 0.1], [0.2, 0.8]])).tolist()
            [0, 1]
        """
        return nearest(e, self.centers_among(e))


def read_carried(discovered: Path) -> CarriedModes | AxisSides:
    """Read the modes that a discover stage found, or its axes: each is cut, on images of any prompt, where it was found."""
    axes = "axes" in read_json(Path(discovered) / "modes.json")
    return AxisSides.read(discovered) if axes else CarriedModes.read(discovered)
