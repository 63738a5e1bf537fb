"""Tensors that stay on disk: their rows are read where they are asked for, so that memory does not grow with their number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selfdebias.storage import StorageError
from selfdebias.storage.stage_folder import read_header

AT_ONCE = 1024  # rows that are read at once, at most,
BYTES = 2**23  # and what they may weigh together
META = {"__metadata__"}  # in the header, beside the tensors
DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64, "I64": torch.int64}


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in a safetensors file.

    Attributes:
        path: the file.
        start: of its bytes.
        shape: (n, ...).
        dtype: of its values.
    """

    path: Path
    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def find(cls, path: Path, name: str) -> StoredTensor:
        """Return where a tensor of this name lies.

        Raises:
            StorageError: if the file is damaged, or holds none of this name.
        """
        header = read_header(path)
        if name not in header:
            raise StorageError(
                f"`{path}` must hold a tensor `{name}`, and holds {', '.join(sorted(header.keys() - META))}."
            )
        with path.open("rb") as file:
            offset = 8 + int.from_bytes(file.read(8), "little")
        found = header[name]
        return cls(path, offset + found["data_offsets"][0], tuple(found["shape"]), DTYPES[found["dtype"]])


class TensorRows:
    """The rows of a tensor (M, ...) that lies in several files; can be indexed and split like a tensor.

    Args:
        stored: the tensors in the files, of one dtype and width; by default their rows stand one below the other.
        places: (M, 2) int64, for each row which of `stored` it is in, and where in it; None takes all.
    """

    def __init__(self, stored: Sequence[StoredTensor], places: Tensor | None = None):
        self.stored, self.dtype = list(stored), stored[0].dtype
        every = [
            torch.stack([torch.full((it.shape[0],), i), torch.arange(it.shape[0])], 1) for i, it in enumerate(stored)
        ]
        self.places = torch.cat(every) if places is None else places
        self.shape = (len(self.places), *stored[0].shape[1:])

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Read rows.

        Args:
            rows: (n,) int64, or a mask (M,).

        Returns:
            (n, ...) in the dtype on disk.
        """
        places = self.places[rows]
        out = torch.empty(len(places), math.prod(self.shape[1:]), dtype=self.dtype)
        data = out.view(torch.uint8).numpy()
        for part in places[:, 0].unique().tolist():
            targets = torch.nonzero(places[:, 0] == part)[:, 0]
            self._read(self.stored[part], places[targets, 1].tolist(), targets.tolist(), data)
        return out.reshape(len(places), *self.shape[1:])

    def only(self, rows: Tensor) -> TensorRows:
        """Return some of the rows, (n,) int64 or a mask (M,), without reading them."""
        return TensorRows(self.stored, self.places[rows])

    def split(self, size: int) -> Iterator[Tensor]:
        """Read all rows, `size` at a time."""
        for rows in torch.arange(len(self)).split(size):
            yield self[rows]

    @staticmethod
    def join(parts: Sequence[TensorRows]) -> TensorRows:
        """Return the rows of several, one below the other."""
        starts = [sum(len(part.stored) for part in parts[:i]) for i in range(len(parts))]
        moved = [part.places + torch.tensor([start, 0]) for part, start in zip(parts, starts, strict=True)]
        return TensorRows([it for part in parts for it in part.stored], torch.cat(moved))

    @staticmethod
    def _read(stored: StoredTensor, rows: Sequence[int], targets: Sequence[int], data: Any) -> None:
        """Read rows of one file into the rows `targets` of `data`, (n, bytes of a row) uint8."""
        size = data.shape[1]
        with stored.path.open("rb", buffering=0) as file:
            for first, end in _runs(rows, targets):
                file.seek(stored.start + rows[first] * size)
                wanted = memoryview(data[targets[first] : targets[first] + end - first]).cast("B")
                if file.readinto(wanted) != len(wanted):
                    raise StorageError(f"`{stored.path}` must be a whole safetensors file, and is not.")


def _runs(rows: Sequence[int], targets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs, from and up to, in which both ascend by one: each is a single read."""
    first = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] != rows[i - 1] + 1 or targets[i] != targets[i - 1] + 1:
            yield first, i
            first = i


def rows_at_once(h: Tensor | TensorRows) -> int:
    """Return how many rows of a tensor are to be worked on at once, so that memory does not depend on their width either.

    Example:
        >>> rows_at_once(torch.zeros(5000, 4)), rows_at_once(torch.zeros(1, 1280, 32, 32, dtype=torch.float16))
        (1024, 3)
    """
    return max(1, min(AT_ONCE, BYTES // (math.prod(h.shape[1:]) * h.dtype.itemsize)))


def in_parts(h: Tensor | TensorRows, *columns: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the rows of `h` (M, ...) with those of the columns (M, ...), as many at a time as `rows_at_once` says."""
    size = rows_at_once(h)
    yield from zip(h.split(size), *(column.split(size) for column in columns), strict=True)


def joined(parts: Sequence[Tensor] | Sequence[TensorRows]) -> Tensor | TensorRows:
    """Return the rows of several, one below the other; those on disk stay there."""
    stored = [part for part in parts if isinstance(part, TensorRows)]
    return TensorRows.join(stored) if stored else torch.cat([part for part in parts if isinstance(part, Tensor)])
