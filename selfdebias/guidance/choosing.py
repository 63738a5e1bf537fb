"""Which images are chosen, so that the sides of each axis come in the wanted numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]
Cells = NDArray[np.int64]  # (n, A): of each image the side of each axis; of one partition (n, 1), its mode


def counts_of(cells: Cells, sizes: Sequence[int]) -> list[Tensor]:
    """Return of each axis how many images, (K,) int64, are on each side."""
    return [torch.from_numpy(np.bincount(cells[:, a], minlength=k)) for a, k in enumerate(sizes)]


def choose(cells: Cells, counts: Sequence[Tensor], n: int, within: bool = False) -> list[int]:
    """Choose images so that the sides of each axis come in the wanted numbers.

    Of the ways to meet them, that is taken in which the axes depend on each other as little more as they do among all images: the
    numbers of the cells are nearest to those of all images raked to the wanted numbers.

    Args:
        cells: (m, A) int64, m >= n images, those that are preferred first.
        counts: of each axis, (K,) wanted numbers, which sum to n.
        n: images to choose.
        within: whether no side may have more images than wanted; then there may be fewer than n.

    Returns:
        Places of the chosen images, ascending.

    References:
        Raking is iterative proportional fitting, Deming and Stephan 1940; the whole numbers are found by `scipy.optimize.milp`.

    Example:
        >>> men = np.array([[0], [0], [0], [1], [0], [1]])
        >>> choose(men, [torch.tensor([2, 2])], 4), choose(men[:5], [torch.tensor([2, 2])], 4, within=True)
        ([0, 1, 3, 5], [0, 1, 3])
    """
    kinds, which, there = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    sides = [kinds[:, a] == k for a, own in enumerate(counts) for k in range(len(own))]
    wanted = torch.cat([*counts]).numpy().astype(float)
    numbers = _whole_numbers(np.array(sides, dtype=float), wanted, there, _raked(there, sides, wanted), n, within)
    chosen = [np.flatnonzero(which.reshape(-1) == kind)[:number] for kind, number in enumerate(numbers)]
    return sorted(int(place) for own in chosen for place in own)


def _raked(
    there: NDArray[np.int64], sides: Sequence[NDArray[np.bool_]], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scale the numbers of the cells until the sides have the wanted ones, as far as they can."""
    raked = there.astype(float)
    for _ in range(100):
        for side, number in zip(sides, wanted, strict=True):
            raked[side] *= number / max(raked[side].sum(), 1e-12)
    return raked


def _whole_numbers(
    sides: Numbers, wanted: Numbers, there: NDArray[np.int64], raked: Numbers, n: int, within: bool
) -> NDArray[np.int64]:
    """Return how many images of each of C cells are taken: nearest to the wanted numbers of S sides, then to the raked ones."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # here, since it is slow to import

    (s, c), none = sides.shape, np.zeros
    # Unknowns: c numbers, the distance of each side from the wanted number, that of each cell from the raked one.
    above = [[sides, -np.eye(s), none((s, c))], [np.eye(c), none((c, s)), -np.eye(c)]]
    below = [[-sides, -np.eye(s), none((s, c))], [-np.eye(c), none((c, s)), -np.eye(c)]]
    rows = LinearConstraint(np.block([*above, *below]), ub=np.concatenate([wanted, raked, -wanted, -raked]))
    total = np.concatenate([np.ones(c), none(s + c)])[None]
    all_of_them = LinearConstraint(total, lb=0 if within else n, ub=n)
    no_more = [LinearConstraint(np.hstack([sides, none((s, s + c))]), ub=wanted)] if within else []
    found = milp(
        np.concatenate([none(c), np.ones(s), np.full(c, 1e-3)]), constraints=[rows, all_of_them, *no_more],
        integrality=np.concatenate([np.ones(c), none(s + c)]), bounds=Bounds(0, np.concatenate([there, np.full(s + c, np.inf)])),
    )  # fmt: skip
    return np.round(found.x[:c]).astype(np.int64)
