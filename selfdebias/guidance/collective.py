"""The processes that share a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Collective:
    """The processes that share a batch, each with a run of its images in the order of their ids: here one, with all of them.

    All make the same calls in the same order, and get the same, bit for bit. A class for several overrides `gather` and `first`.

    Attributes:
        part: index of this process, from 0.
        among: number of processes, at least 1.
    """

    part: int = 0
    among: int = 1

    def gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        """Return the rows of all processes, and where this one's are among them.

        Args:
            rows: (B, ...) of one dtype and width everywhere; B may differ, and be 0.

        Returns:
            (N, ...) on the device of `rows`, without gradient, in the order of the processes; ``rows == all[own]``.
        """
        return rows.detach(), slice(0, len(rows))

    def first(self, count: int) -> Collective:
        """Return the first `count` processes, or all where they are no more: those that a batch of so many images has.

        All processes call it, in the same order. In one that is not among them, what comes back has an empty `share`.
        """
        return self

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the processes of a tensor that has one shape in all of them."""
        return self.gather(values[None])[0].sum(dim=0)

    def any(self, value: bool) -> bool:
        """Return whether the value is true in some process."""
        return bool(self.gather(torch.tensor([value], dtype=torch.uint8))[0].any())

    def wait(self) -> None:
        """Return once every process has come here."""
        self.any(False)

    def share(self, items: Sequence[T]) -> list[T]:
        """Return the items of this process: a run of them, the first processes having one more where they do not divide.

        Example:
            >>> ALONE.share([3, 4, 5])
            [3, 4, 5]
        """
        size, more = divmod(len(items), self.among)
        start = self.part * size + min(self.part, more)
        return list(items[start : start + size + (self.part < more)])


ALONE = Collective()
