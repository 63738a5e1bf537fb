"""What collect folders hold: images, their embeddings, and activations that stay on disk until they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from selfdebias.config.rules import ConfigError
from selfdebias.modes.placement import AxisSides, CarriedModes, Labels
from selfdebias.storage.atomic import read_json
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.tensor_rows import TensorRows

T = TypeVar("T")
UNET = "unet.json"  # which weights drew the images


def read_identity(collected: Path) -> dict[str, str] | None:
    """Return which model drew the images of a collect stage; None where that is not known."""
    file = collected / UNET
    return (read_json(file) or None) if file.exists() else None


class CollectedImages:
    """The images of one or several collect folders in the order of the folders and of their ids, without those that were blanked.

    Args:
        folders: finished collect folders, at least one.

    Attributes:
        e: (N, d) float64 embeddings.
        prompt_of: N prompts.
        numbers: the number of each among all images of the folders, from 0; those that a safety checker blanked have one, too.

    Raises:
        ConfigError: if all images were blanked.
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = list(folders)
        self.stores = [BatchFolder.open(path) for path in folders]
        read = [read_embeddings(store) for store in self.stores]
        every = [(store, i) for store, (ids, _) in zip(self.stores, read, strict=True) for i in ids]
        records = [record for store in self.stores for record in store.records()]
        self.numbers = [number for number, record in enumerate(records) if not record["blanked"]]
        if not self.numbers:
            raise ConfigError(
                "`collect` must give images that show something, got black ones alone: see model.safety_checker."
            )
        self._places = [every[number] for number in self.numbers]
        self.e = torch.cat([e for _, e in read])[self.numbers].double().numpy()
        self.prompt_of = [records[number]["prompt"] for number in self.numbers]

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
        """Names of the recorded branches."""
        return self._same("branches", lambda said: tuple(said["branches"]))

    @property
    def blocks(self) -> tuple[int | None, ...]:
        """After which blocks of a transformer activations were recorded; one None in a UNet."""
        return self._same("blocks", lambda said: tuple(said.get("blocks", (None,))))

    @property
    def places(self) -> tuple[int, ...] | None:
        """(H, W) of the activations, where fewer places than that are stored; see `SemanticProjector`."""
        return self._same("places", lambda said: tuple(said.get("places", ()))) or None

    def _same(self, name: str, value: Callable[[dict[str, Any]], T]) -> T:
        """Return what all folders say.

        Raises:
            ValueError: if they differ.
        """
        found = {value(read_json(path / "collect.json")) for path in self.folders}
        if len(found) > 1:
            raise ValueError(f"`folders` must be of one model with the same {name}, got {found}.")
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

    def activations(self, labels: Labels | Sequence[int], block: int | None = None) -> dict[str, Any]:
        """Find all activations that were recorded in one place, with the embedding and the mode of each one's image.

        Args:
            labels: (N,) the mode of each image.
            block: one of `blocks`; may be left out where there is one.

        Raises:
            ValueError: if it must be said which block.

        Returns:
            ``h`` (M, C, H, W) float16, which stays on disk; ``e`` (M, d) float32; ``id``, the number of the image, ``branch``,
            ``mode`` (M,) int64; ``timestep`` (M,) float32.
        """
        several = ("h_block",) if len(self.blocks) > 1 else ()
        if several and block not in self.blocks:
            raise ValueError(f"`block` must be one of {self.blocks}, got {block}.")
        h, facts, start = [], [], 0
        kept = {number: place for place, number in enumerate(self.numbers)}
        for store in self.stores:
            number = {i: kept.get(start + place, -1) for place, i in enumerate(store.ids())}
            for batch, its in store.tensors(("h_id", "h_timestep", "h_step", "h_branch", *several)):
                # by step and branch, as one process writes them; parts stand one behind the other
                order = torch.argsort(2 * its["h_step"] + its["h_branch"], stable=True)
                if several:
                    order = order[its["h_block"][order] == block]
                own = torch.tensor([number[int(i)] for i in its["h_id"]])
                order = order[own[order] >= 0]
                h.append(store.rows(batch, "h").only(order))
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
