"""Several collect folders read as one: the images of many prompts, that a bank is fitted on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfdebias.jobs.stages.discover import prompts_of, read_embeddings
from selfdebias.jobs.stages.project import read_activations
from selfdebias.modes.axis_sides import AxisSides
from selfdebias.modes.carried import CarriedModes
from selfdebias.modes.sphere import Labels
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.tensor_rows import joined


class FittedImages:
    """The images of several collect folders, numbered from 0 in the order of the folders and of their ids.

    Args:
        folders: finished collect folders by name, at least one.

    Attributes:
        e: (N, d) float64 embeddings.
        prompt_of: N prompts.

    Raises:
        ValueError: if the folders differ in their branches.
    """

    def __init__(self, folders: Mapping[str, Path]):
        self.stores = [BatchFolder.open(path) for path in folders.values()]
        self._paths = list(folders.values())
        read = [read_embeddings(store) for store in self.stores]
        self._places = [(store, i) for store, (ids, _) in zip(self.stores, read, strict=True) for i in ids]
        self._counts = [len(ids) for ids, _ in read]
        self.e = torch.cat([e for _, e in read]).double().numpy()
        self.prompt_of = [
            text for store, (ids, _) in zip(self.stores, read, strict=True) for text in prompts_of(store, ids)
        ]
        self.branches = self._read_branches()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The different prompts, in the order of their first images."""
        return tuple(dict.fromkeys(self.prompt_of))

    def images(self, numbers: Sequence[int]) -> Tensor:
        """Return images (n, 3, H, W) float32 in [0, 1] by their numbers."""
        return torch.cat([store.images([i]) for store, i in (self._places[n] for n in numbers)])

    def labels(self, modes: CarriedModes | AxisSides) -> Labels:
        """Return the mode, or the cell, of each image among those of its own prompt, (N,) int64."""
        labels, prompts = np.zeros(len(self), dtype=np.int64), np.asarray(self.prompt_of)
        for prompt in self.prompts:
            labels[prompts == prompt] = modes.labels(self.e[prompts == prompt])
        return labels

    def activations(self, labels: Labels) -> dict[str, Any]:
        """Return all recorded activations as `read_activations` does, ids being numbers, with ``prompt`` (M,) int64.

        Args:
            labels: (N,) the mode of each image.
        """
        rows = list(self._of_each_folder(labels))
        together: dict[str, Any] = {name: joined([row[name] for row in rows]) for name in rows[0]}
        prompt = torch.tensor([self.prompts.index(text) for text in self.prompt_of])
        return {**together, "prompt": prompt[together["id"]]}

    def _of_each_folder(self, labels: Labels) -> Iterator[dict[str, Any]]:
        starts = np.cumsum([0, *self._counts])
        for path, store, start in zip(self._paths, self.stores, starts, strict=False):
            number = {i: int(start) + place for place, i in enumerate(store.ids())}
            data = read_activations(path, {str(i): int(labels[n]) for i, n in number.items()})
            yield {**data, "id": torch.tensor([number[int(i)] for i in data["id"]])}

    def _read_branches(self) -> tuple[str, ...]:
        found = {tuple(json.loads((path / "collect.json").read_text())["branches"]) for path in self._paths}
        if len(found) > 1:
            raise ValueError(f"`folders` must be of one model with the same branches, got {sorted(found)}.")
        return found.pop()
