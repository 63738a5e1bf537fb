"""Collect: sample without guidance; keep images, their embeddings, and `h_t` at random steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from selfdebias.backbones.calling import check_branches
from selfdebias.backbones.hspace import BottleneckHook, Step, find_denoiser, split_branches
from selfdebias.backbones.rows import RowCount
from selfdebias.config.rules import ConfigError
from selfdebias.guidance.collective import ALONE, Collective
from selfdebias.jobs.stages.collected import UNET
from selfdebias.jobs.stages.sampling import CostMeter, Sampler
from selfdebias.modes.readers import stored
from selfdebias.storage.atomic import write_json
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.provenance import identity_of

VERSION = 1
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
    shards = [tensors for _, tensors in store.tensors(("h_timestep", "h_branch", "rows", "blocks", "places"))]
    seen = sorted({float(t) for tensors in shards for t in tensors["h_timestep"]})
    branches = BRANCHES[1 + max(int(tensors["h_branch"].max()) for tensors in shards)]
    counted = [int(tensors["rows"].sum()) for tensors in shards if "rows" in tensors]  # earlier versions counted none
    rows = sum(counted) if len(counted) == len(shards) else None
    said = {"branches": [*branches], "n_images": n_images, "timesteps": seen}
    cost = {"seconds_per_image": meter.seconds / sampler.drawn if sampler.drawn else None, "rows": rows}
    site = {name: shards[0][name][0].tolist() for name in ("blocks", "places") if name in shards[0]}
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
        tensors |= {"blocks": torch.tensor([[*hook.blocks]])} if None not in hook.blocks else {}
        averaged = [*tensors["h"].shape[2:]] != self.averaged_from
        tensors |= {"places": torch.tensor([self.averaged_from])} if averaged else {}
        self.keep(batch, ids, images, tensors, dict.fromkeys(tensors, 0))

    def act(self, h: Tensor, step: Step) -> None:
        """Keep the activations of the images for which this step was chosen."""
        check_branches(h, step.branches, len(self.current))
        if step.visit == 0:
            self.chosen = {i: choose_steps(step.count, self.recorded, self.seeds[i]) for i in self.current}
        places = [place for place, i in enumerate(self.current) if step.index in self.chosen[i]]
        if places:
            for b, half in enumerate(split_branches(h, step.branches).values()):
                self.rows.append(_rows(half[places], [self.current[p] for p in places], step, b))
                if not self.rows[-1]["h"].isfinite().all():
                    where = "" if step.block is None else f" after block {step.block}"
                    raise ConfigError(
                        f"`h_t`{where} must be finite and at most 65504, as it is stored in float16, got other numbers at step "
                        f"{step.index}: choose other `model.blocks`, or model.dtype=float32."
                    )
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


def _rows(h: Tensor, ids: Sequence[int], step: Step, branch: int) -> dict[str, Tensor]:
    same = {"h_timestep": step.timestep, "h_step": step.index, "h_branch": branch}
    if step.block is not None and step.sites > 1:
        same["h_block"] = step.block
    return {
        "h": stored(h).cpu(),
        "h_id": torch.tensor(ids),
        **{name: torch.full((len(ids),), value) for name, value in same.items()},
    }
