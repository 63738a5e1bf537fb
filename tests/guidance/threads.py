"""A collective over threads, so that each part of a split batch is guided at the same time in one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from selfdebias.guidance.collective import Collective


class Board:
    """Where threads put what they show each other."""

    def __init__(self, among: int, seconds: float):
        self.slots: list[Any] = [None] * among
        self.barrier = threading.Barrier(among, timeout=seconds)


class ThreadCollective(Collective):
    """One of the threads of a board; sum and any are those of the base class."""

    def __init__(self, part: int, board: Board):
        self.part, self.among, self.board = part, len(board.slots), board

    def gather(self, rows: Tensor) -> tuple[Tensor, slice]:
        self.board.slots[self.part] = rows.detach()
        self.board.barrier.wait()
        slots = list(self.board.slots)
        self.board.barrier.wait()  # nobody writes again before all have read
        start = sum(len(slot) for slot in slots[: self.part])
        return torch.cat(slots), slice(start, start + len(rows))

    def first(self, count: int) -> Collective:
        raise NotImplementedError  # guidance never asks for it


def in_threads(among: int, body: Callable[[Collective], Any], seconds: float = 60.0) -> list[Any]:
    """Call the body once in each thread, with its collective; what they return, in order.

    A thread that fails, or waits longer than that for one that does not come, fails the call.
    """
    board = Board(among, seconds)

    def guarded(part: int) -> Any:
        try:
            return body(ThreadCollective(part, board))
        except BaseException:
            board.barrier.abort()
            raise

    with ThreadPoolExecutor(among) as pool:
        return [future.result() for future in [pool.submit(guarded, part) for part in range(among)]]
