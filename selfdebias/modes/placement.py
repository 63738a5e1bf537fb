"""Where modes lie among embeddings, and which mode an embedding is in: centres, transferred modes, the sides of axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from selfdebias.storage.atomic import read_json, read_tensors

Vectors = NDArray[np.float64]
Labels = NDArray[np.int64]
NOISE = -1  # label of what a clustering leaves in no mode
TINY = 1e-12


def unit(X: Vectors) -> Vectors:
    """Scale rows (N, d) to length 1; a row of zeros stays one.

    Example:
        >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), TINY)


def centers_of(X: Vectors, labels: Labels) -> Vectors:
    """Average the unit vectors (N, d) of each mode into unit centres (K, d); noise is left out.

    Example:
        >>> centers_of(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), np.array([1, 0, NOISE])).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    return unit(np.stack([X[labels == k].mean(axis=0) for k in range(int(labels.max()) + 1)]))


def nearest(X: Vectors, centers: Vectors) -> Labels:
    """Return the centre (N,) nearest to each vector by cosine, the first of equally near ones.

    Example:
        >>> nearest(np.array([[2.0, 1.0]]), np.eye(2)).tolist()
        [0]
    """
    return np.argmax(X @ centers.T, axis=1)  # the length of a vector does not change which centre is nearest


def by_size(labels: Labels) -> tuple[Labels, Labels]:
    """Number modes by size, the largest first, equally large ones in their old order; noise stays noise.

    Args:
        labels: (N,) names of modes, at least 0, or `NOISE`.

    Returns:
        The new labels (N,), and the old name of each mode (K,).

    Example:
        >>> [found.tolist() for found in by_size(np.array([4, 2, 2, NOISE]))]
        [[1, 0, 0, -1], [2, 4]]
    """
    names, counts = np.unique(labels[labels != NOISE], return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    rank = {int(name): i for i, name in enumerate(order)} | {NOISE: NOISE}
    return np.array([rank[int(label)] for label in labels], dtype=np.int64), order


def residual(e: Vectors, prompt_of: Sequence[str]) -> Vectors:
    """Take the mean of each prompt's embeddings away.

    Clusters of the embeddings of many prompts are the prompts; those of the residuals are what the prompts have in common.

    Args:
        e: (N, d) embeddings.
        prompt_of: N prompts, of each image its own.

    Returns:
        (N, d), not normalised; the only image of a prompt has a residual of zeros.

    Raises:
        ValueError: if there are not as many prompts as embeddings.

    Example:
        >>> residual(np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]), ["a", "a", "b"]).tolist()
        [[0.5, -0.5], [-0.5, 0.5], [0.0, 0.0]]
    """
    if len(prompt_of) != len(e):
        raise ValueError(f"`prompt_of` must have {len(e)} prompts, one for each embedding, got {len(prompt_of)}.")
    names, rows = np.unique(np.asarray(prompt_of), return_inverse=True)
    means = np.stack([e[rows == row].mean(axis=0) for row in range(len(names))])
    return e - means[rows]


def mean_offsets(e: Vectors, labels: Labels, prompt_of: Sequence[str]) -> Vectors:
    """Return the mean of each mode less the mean of its prompt, (K, d); arguments as in `residual`.

    Example:
        >>> mean_offsets(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]), ["a", "a"]).tolist()
        [[0.5, -0.5], [-0.5, 0.5]]
    """
    apart = residual(e, prompt_of)
    return np.stack([apart[labels == k].mean(axis=0) for k in range(int(labels.max()) + 1)])


def centers_among(e: Vectors, labels: Labels, prompt_of: Sequence[str]) -> Vectors:
    """Place modes that were found on residuals among the embeddings: the mean of all, moved by each mode's mean residual.

    The mean embedding of a mode would also tell which prompts it has more images of.

    Args:
        e: (N, d) embeddings.
        labels: (N,) modes, each with an image.
        prompt_of: N prompts.

    Returns:
        (K, d) unit centres.

    Example:
        >>> e = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> centers_among(e, np.array([0, 1]), ["a", "a"]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return unit(e.mean(axis=0) + mean_offsets(e, labels, prompt_of))


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
            >>> modes = CarriedModes(np.eye(3), np.array([[0.3, 0, 0], [0, 0.3, 0], [0, 0, 0.3]]), by_mean=True)
            >>> modes.centers_among(np.array([[0.0, 0.6, 0.8]])).argmax(axis=1).tolist()
            [2, 1, 2]
        """
        return unit(e.mean(axis=0) + self.offsets) if self.by_mean else self.centers

    def labels(self, e: Vectors) -> Labels:
        """Return the mode of each of (N, d) embeddings of images of one prompt, (N,) int64: that with the nearest centre.

        Example:
            >>> CarriedModes(np.eye(2), np.zeros((2, 2)), by_mean=False).labels(np.array([[0.9, 0.1], [0.2, 0.8]])).tolist()
            [0, 1]
        """
        return nearest(e, self.centers_among(e))


class AxisSides(NamedTuple):
    """Reads A axes off embeddings.

    Attributes:
        origin: (d,) float64, where all coordinates are 0.
        duals: (A, d) float64; coordinates are ``(e - origin) @ duals.T``, about 0 and 1 on the two sides.
    """

    origin: Vectors
    duals: Vectors

    def coordinates(self, e: Vectors) -> Vectors:
        """Return the coordinates (N, A) of embeddings (N, d)."""
        return (np.asarray(e, dtype=np.float64) - self.origin) @ self.duals.T

    def sides(self, e: Vectors) -> Labels:
        """Return the sides (N, A) int64, 0 or 1: 1 where the coordinate is above one half."""
        return (self.coordinates(e) > 0.5).astype(np.int64)

    def labels(self, e: Vectors) -> Labels:
        """Return the cell (N,) int64 of embeddings (N, d)."""
        return cells_of(self.sides(e))

    @classmethod
    def read(cls, discovered: Path) -> Self:
        """Read the axes that a discover stage found."""
        found = load_file(Path(discovered) / "centers.safetensors")
        return cls(found["origin"].astype(np.float64), found["duals"].astype(np.float64))


def cells_of(sides: Labels) -> Labels:
    """Return the cell (N,) int64 of sides (N, A): axis a counts ``2 ** a``.

    Example:
        >>> cells_of(np.array([[0, 0], [1, 0], [0, 1], [1, 1]])).tolist()
        [0, 1, 2, 3]
    """
    return sides @ (2 ** np.arange(sides.shape[1]))


def sides_of(cells: Labels, axes: int) -> Labels:
    """Return the sides (N, A) int64 of cells (N,).

    Example:
        >>> sides_of(np.array([0, 1, 2, 3]), 2).tolist()
        [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    return (np.asarray(cells)[:, None] >> np.arange(axes)) & 1


def read_carried(discovered: Path) -> CarriedModes | AxisSides:
    """Read the modes that a discover stage found, or its axes: each is cut, on images of any prompt, where it was found."""
    axes = "axes" in read_json(Path(discovered) / "modes.json")
    return AxisSides.read(discovered) if axes else CarriedModes.read(discovered)
