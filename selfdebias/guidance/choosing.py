"""Which images are chosen, so that the sides of each axis come in the wanted numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from selfdebias.guidance.selecting import Part, Seed

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


class Rounds:
    """Images of a prompt that are finished round after round, and looked at, until the wanted numbers can be chosen among them.

    Args:
        part: the images of the prompt in a call, with something that looks at finished images.
        seeds: that may be drawn, in their order.
        counts: of each axis, (K,) wanted numbers, which sum to n.
        n: images to choose.
        steered: whether each round is guided towards what is still missing.
    """

    def __init__(self, part: Part, seeds: Sequence[Seed], counts: Sequence[Tensor], n: int, steered: bool):
        self.part, self.seeds, self.counts, self.n, self.steered = part, list(seeds), list(counts), n, steered
        self._sizes = [len(it) for it in counts]
        self._cells: Cells = np.zeros((0, len(counts)), dtype=np.int64)
        self._outputs: list[Any] = []
        self._rows: list[tuple[int, int]] = []  # of each finished image, its round and its place there

    @property
    def left(self) -> int:
        """How many seeds were not drawn yet."""
        return len(self.seeds) - len(self._rows)

    @property
    def got(self) -> list[Tensor]:
        """Of each axis, (K,) images among the finished ones that can be chosen without too many of any side."""
        return counts_of(self._cells[choose(self._cells, self.counts, self.n, within=True)], self._sizes)

    def draw(self, number: int) -> Cells:
        """Finish the images of the next `number` seeds, and return their sides, (number, A)."""
        own = self.seeds[len(self._rows) : len(self._rows) + number]
        if self.steered:
            output = self.part.steer(own, [counts - have for counts, have in zip(self.counts, self.got, strict=True)])
        else:
            output = self.part.draw(own)
        found = self.part.cells(output)
        self._rows += [(len(self._outputs), place) for place in range(len(own))]
        self._outputs.append(output)
        self._cells = np.concatenate([self._cells, found])
        return found

    def deliver(self) -> list[Tensor]:
        """Deliver n of the finished images, and return of each axis how many of them, (K,), are on each side."""
        chosen = choose(self._cells, self.counts, self.n)
        for place, output in enumerate(self._outputs):
            mine = [i for i in chosen if self._rows[i][0] == place]
            rows = [self._rows[i][1] for i in mine]
            self.part.deliver([self.seeds[i] for i in mine], output, rows, edited=self.steered)
        return counts_of(self._cells[chosen], self._sizes)


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
