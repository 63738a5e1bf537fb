"""What collect stages left: the images of one or several of them read as one, their embeddings and recorded activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from selfdebias.modes.axis_sides import AxisSides
from selfdebias.modes.carried import CarriedModes
from selfdebias.modes.sphere import Labels
from selfdebias.storage.atomic import read_json
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.tensor_rows import TensorRows


class CollectedImages:
    """The images of one or several collect folders, numbered from 0 in the order of the folders and of their ids.

    Args:
        folders: finished collect folders, at least one.

    Attributes:
        e: (N, d) float64 embeddings.
        prompt_of: N prompts.
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = list(folders)
        self.stores = [BatchFolder.open(path) for path in folders]
        read = [read_embeddings(store) for store in self.stores]
        self._places = [(store, i) for store, (ids, _) in zip(self.stores, read, strict=True) for i in ids]
        self.e = torch.cat([e for _, e in read]).double().numpy()
        self.prompt_of = [record["prompt"] for store in self.stores for record in store.records()]

    @classmethod
    def read(cls, collected: Path | None, fitted: Mapping[str, Path] | None) -> Self:
        """The images of one folder, or of several by prompt in its place."""
        if fitted is not None:
            return cls([*fitted.values()])
        assert collected is not None
        return cls([collected])

    def __len__(self) -> int:
        return len(self._places)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The different prompts, in the order of their first images."""
        return tuple(dict.fromkeys(self.prompt_of))

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the recorded branches.

        Raises:
            ValueError: if the folders differ in them.
        """
        found = {tuple(read_json(path / "collect.json")["branches"]) for path in self.folders}
        if len(found) > 1:
            raise ValueError(f"`folders` must be of one model with the same branches, got {sorted(found)}.")
        return found.pop()

    def images(self, numbers: Sequence[int]) -> Tensor:
        """Return images (n, 3, H, W) float32 in [0, 1] by their numbers."""
        return torch.cat([store.images([i]) for store, i in (self._places[n] for n in numbers)])

    def labels(self, modes: CarriedModes | AxisSides) -> Labels:
        """Return the mode, or the cell, of each image among those of its own prompt, (N,) int64."""
        labels, prompts = np.zeros(len(self), dtype=np.int64), np.asarray(self.prompt_of)
        for prompt in self.prompts:
            labels[prompts == prompt] = modes.labels(self.e[prompts == prompt])
        return labels

    @property
    def prompt_index(self) -> Tensor:
        """The prompt of each image, (N,) int64 into `prompts`."""
        return torch.tensor([self.prompts.index(text) for text in self.prompt_of])

    def activations(self, labels: Labels | Sequence[int]) -> dict[str, Any]:
        """Find all recorded activations, with the embedding and the mode of each one's image.

        Args:
            labels: (N,) the mode of each image.

        Returns:
            ``h`` (M, C, H, W) float16, which stays on disk; ``e`` (M, d) float32; ``id``, the number of the image, ``branch``,
            ``mode`` (M,) int64; ``timestep`` (M,) float32.
        """
        h, facts, start = [], [], 0
        for store in self.stores:
            number = {i: start + place for place, i in enumerate(store.ids())}
            for batch, its in store.tensors(("h_id", "h_timestep", "h_step", "h_branch")):
                # by step and branch, as one process writes them; parts stand one behind the other
                order = torch.argsort(2 * its["h_step"] + its["h_branch"], stable=True)
                h.append(store.rows(batch, "h").only(order))
                own = torch.tensor([number[int(i)] for i in its["h_id"]])
                facts.append((own[order], its["h_branch"][order], its["h_timestep"][order].float()))
            start += len(number)
        numbers, branch, timestep = (torch.cat(column) for column in zip(*facts, strict=True))
        mode, e = torch.tensor(labels, dtype=torch.int64), torch.from_numpy(self.e).float()
        return {
            "h": TensorRows.join(h), "e": e[numbers], "id": numbers, "branch": branch, "mode": mode[numbers], "timestep": timestep,
        }  # fmt: skip


def read_embeddings(store: BatchFolder) -> tuple[list[int], Tensor]:
    """Return ids, sorted, and the embeddings (N, d) in their order."""
    tensors = dict(store.tensors(("e",)))
    left = {batch: iter(its["e"]) for batch, its in tensors.items()}
    records = store.records()
    return [record["id"] for record in records], torch.stack([next(left[record["batch"]]) for record in records])
