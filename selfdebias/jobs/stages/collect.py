"""Collect: sample without guidance; keep images, their embeddings, and `h_t` at random steps. `CollectedImages` reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from selfdebias.backbones.hspace import BottleneckHook, Step, find_denoiser, split_branches
from selfdebias.backbones.rows import RowCount
from selfdebias.guidance.state import ALONE, Collective
from selfdebias.jobs.stages.sampling import CostMeter, Sampler
from selfdebias.modes.placement import AxisSides, CarriedModes, Labels
from selfdebias.modes.readers import stored
from selfdebias.storage.atomic import read_json, write_json
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.provenance import identity_of
from selfdebias.storage.tensor_rows import TensorRows

T = TypeVar("T")
VERSION = 1
UNET = "unet.json"  # which weights drew the images
CONFIG = ("model", "encoder", "prompts.text", "prompts.templates", "collect")
BRANCHES = {1: ("cond",), 2: ("uncond", "cond")}  # by how many there are; diffusers stacks them in this order


def collect(
    folder: Path, key: str, backbone: Any, encoder: Any, prompts: Any, n_images: int, batch_size: int,
    timesteps: int, seed: int, trainer: Callable[..., pl.Trainer], collective: Collective = ALONE,
) -> None:  # fmt: skip
    """Fill a folder with vanilla images, their embeddings and recorded activations.

    Args:
        folder: the stage's own folder.
        key: the stage's key.
        backbone: the model.
        encoder: images to unit vectors.
        prompts: what is asked for; its `for_images` gives the prompt of each image.
        n_images: number of images.
        batch_size: images in a pipeline call.
        timesteps: UNet calls recorded for each image.
        seed: seed of the images.
        trainer: makes the Lightning trainer.
        collective: the processes that draw each batch together.
    """
    store = BatchFolder(folder, key, collective.part)
    images = prompts.for_images(n_images)
    sampler = Collector(encoder, timesteps, store, backbone, images, batch_size, "collect", seed, collective)
    with CostMeter() as meter:
        sampler.run(trainer)
    if collective.part:
        return
    shards = [tensors for _, tensors in store.tensors(("h_timestep", "h_branch", "rows", "block", "places"))]
    seen = sorted({float(t) for tensors in shards for t in tensors["h_timestep"]})
    branches = BRANCHES[1 + max(int(tensors["h_branch"].max()) for tensors in shards)]
    counted = [int(tensors["rows"].sum()) for tensors in shards if "rows" in tensors]  # earlier versions counted none
    rows = sum(counted) if len(counted) == len(shards) else None
    said = {"branches": [*branches], "n_images": n_images, "timesteps": seen}
    cost = {"seconds_per_image": meter.seconds / n_images, "rows": rows}
    site = {name: shards[0][name][0].tolist() for name in ("block", "places") if name in shards[0]}
    write_json(folder / "collect.json", {**said, **cost, **site})


class Collector(Sampler):
    """Records activations while it draws.

    Args:
        encoder: images to unit vectors.
        recorded: UNet calls recorded for each image.
        sampling: arguments of `Sampler`.
    """

    def __init__(self, encoder: Any, recorded: int, *sampling: Any):
        super().__init__(*sampling)
        self.encoder, self.recorded = encoder, recorded
        self.current, self.chosen = list[int](), dict[int, set[int]]()
        self.rows, self.averaged_from = list[dict[str, Tensor]](), list[int]()

    def loaded(self) -> None:
        """See `Sampler.loaded`: note which model it is, for whoever attaches what is fitted here."""
        if hasattr(self.encoder, "load"):
            self.encoder.load()  # so that weights that are not whole are said now
        identity = identity_of(find_denoiser(self.pipeline).module)
        write_json(self.folder.path / UNET, {} if identity is None else identity)

    def draw_batch(self, batch: int, ids: Sequence[int]) -> None:
        """See `Sampler.draw_batch`."""
        self.current, self.rows, self.chosen = list(ids), [], {}
        hook = BottleneckHook(self.pipeline, self.act, blocks=getattr(self.backbone, "blocks", None))
        with RowCount(self.pipeline) as count, hook:
            images = self.draw(ids)
        tensors = {name: torch.cat([row[name] for row in self.rows]) for name in self.rows[0]}
        tensors |= {"e": self.encoder(images.to(self.device)).cpu(), "rows": torch.tensor([count.rows])}
        tensors |= {"block": torch.tensor([*hook.blocks])} if None not in hook.blocks else {}
        averaged = [*tensors["h"].shape[2:]] != self.averaged_from
        tensors |= {"places": torch.tensor([self.averaged_from])} if averaged else {}
        self.keep(batch, ids, images, tensors, dict.fromkeys(tensors, 0))

    def act(self, h: Tensor, step: Step) -> None:
        """Keep the activations of the images for which this step was chosen."""
        if step.index == 0:
            self.chosen = {i: choose_steps(step.count, self.recorded, self.seeds[i]) for i in self.current}
        places = [place for place, i in enumerate(self.current) if step.index in self.chosen[i]]
        if places:
            for b, half in enumerate(split_branches(h, step.branches).values()):
                self.rows.append(_rows(half[places], [self.current[p] for p in places], step, b))
        self.averaged_from = [*h.shape[2:]]


def choose_steps(count: int, recorded: int, seed: int) -> set[int]:
    """Choose steps at random, one from each of `recorded` equal parts of the sampling loop.

    Example:
        >>> len(choose_steps(25, 8, seed=1)), choose_steps(4, 9, seed=1)
        (8, {0, 1, 2, 3})
    """
    if recorded >= count:
        return set(range(count))
    edges = np.linspace(0, count, recorded + 1).round().astype(int)
    rng = np.random.default_rng(seed)
    return {int(rng.integers(low, high)) for low, high in pairwise(edges)}


def read_identity(collected: Path) -> dict[str, str] | None:
    """Return which model drew the images of a collect stage; None where that is not known."""
    file = collected / UNET
    return (read_json(file) or None) if file.exists() else None


def _rows(h: Tensor, ids: Sequence[int], step: Step, branch: int) -> dict[str, Tensor]:
    same = {"h_timestep": step.timestep, "h_step": step.index, "h_branch": branch}
    return {
        "h": stored(h).cpu(),
        "h_id": torch.tensor(ids),
        **{name: torch.full((len(ids),), value) for name, value in same.items()},
    }


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
        """Names of the recorded branches."""
        return self._same("branches", lambda said: tuple(said["branches"]))

    @property
    def site(self) -> dict[str, Any]:
        """Where activations were recorded, if not in a UNet at the places that are stored; see `SemanticProjector`."""
        found = self._same("sites", lambda said: (said.get("block"), tuple(said.get("places", ()))))
        return {name: value for name, value in zip(("block", "places"), found, strict=True) if value not in (None, ())}

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
