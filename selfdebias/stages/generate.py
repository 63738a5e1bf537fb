"""Generate: draw one arm, vanilla or guided, from the seeds that all arms share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from safetensors.torch import load_file

from selfdebias.attachment import Attachment
from selfdebias.guidance import Guidance, GuidanceState, Semantics
from selfdebias.metrics.cost import CostMeter
from selfdebias.modes.bank import ModeBank
from selfdebias.projection import SemanticProjector
from selfdebias.prompts import Prompts
from selfdebias.rules import ConfigError
from selfdebias.schedules import GuidanceWindow
from selfdebias.stages.sampling import Sampler, batches_of_one_prompt
from selfdebias.storage.atomic import write_json
from selfdebias.storage.batches import BatchFolder

VERSION = 3
CONFIG = ("model", "guidance", "schedule", "prompts.text", "prompts.templates", "generate")


def generate(
    folder: Path, key: str, arm: str, backbone: Any, guidance: Guidance, schedule: GuidanceWindow, prompts: Prompts,
    n_images: int, batch_size: int, seed: int, projected: Path | None, replayed: Path | None,
    trainer: Callable[..., pl.Trainer], discovered: Path | None = None,
) -> None:  # fmt: skip
    """Fill a folder with the images of one arm.

    Args:
        folder: the stage's own folder.
        key: the stage's key.
        arm: name of the arm.
        backbone: the model.
        guidance: how `h_t` is edited.
        schedule: when, and how strongly.
        prompts: what is asked for.
        n_images: number of images.
        batch_size: images that are guided together.
        seed: seed of the images, the same for all arms.
        projected: folder of the project stage; None for guidance that needs no semantics.
        replayed: folder of the arm whose edit sizes are replayed; None for guidance that replays none.
        trainer: makes the Lightning trainer.
        discovered: folder of the discover stage, if it is that which has the bank; None where the project stage has it.
    """
    store = BatchFolder(folder, key)
    state = GuidanceState(read_semantics(projected, discovered) if guidance.needs_semantics and projected else None)
    check_shares(guidance, state)
    images = prompts.for_images(n_images)
    sampler = ArmSampler(guidance, schedule, state, replayed, store, backbone, images, batch_size, "generate", seed)
    left = n_images - len(store.ids())
    with CostMeter() as meter:
        sampler.run(trainer)
    # A stage that was killed after its last batch has nothing left to time.
    cost = {"seconds_per_image": meter.seconds / left, "guidance_share": state.seconds / meter.seconds} if left else {}
    summary = {
        "arm": arm,
        **cost,
        "peak_memory_mb": meter.peak_memory_mb if left else None,
        "dependence": _dependence(guidance, replayed),
        "skipped_edits": sum(int(tensors["skipped"]) for _, tensors in store.tensors()),
    }
    write_json(folder / "generate.json", {**summary, "guidance": {"class": type(guidance).__name__, **vars(guidance)}})


def _dependence(guidance: Guidance, replayed: Path | None) -> str:
    """What an image of the arm depends on; edits whose sizes are replayed depend on what the other arm's do."""
    if replayed is None:
        return guidance.dependence
    return str(json.loads((replayed / "generate.json").read_text())["dependence"])


def check_shares(guidance: Guidance, state: GuidanceState) -> None:
    """Refuse, before an image is drawn, a target with another number of modes than were found.

    Raises:
        ConfigError: if they differ.
    """
    target, semantics = getattr(guidance, "target", None), state.semantics
    if target is not None and semantics and len(target) != len(semantics.bank.target):
        raise ConfigError(
            f"`guidance.target` must be {len(semantics.bank.target)} shares, one for each mode that was found, got {target}."
        )


def read_semantics(projected: Path, discovered: Path | None = None) -> Semantics:
    """Read projector and bank of a finished project stage, the bank of the discover stage where that was the later one."""
    bank = ModeBank.load((discovered or projected) / "bank.safetensors")
    return Semantics(SemanticProjector.load(projected / "projector.safetensors"), bank)


class ArmSampler(Sampler):
    """Edits activations while it draws.

    Args:
        guidance: how `h_t` is edited.
        schedule: when, and how strongly.
        state: memory, trace and semantics.
        replayed: folder of the arm whose edit sizes are replayed, or None.
        sampling: arguments of `Sampler`.
    """

    def __init__(
        self, guidance: Guidance, schedule: GuidanceWindow, state: GuidanceState, replayed: Path | None, *sampling: Any
    ):
        super().__init__(*sampling)
        self.guidance, self.schedule, self.state, self.replayed = guidance, schedule, state, replayed

    def split(self) -> list[list[int]]:
        """See `Sampler.split`; a batch is balanced as a whole, so it holds images of one prompt."""
        return batches_of_one_prompt(self.prompts, self.batch_size)

    def draw_batch(self, batch: int) -> None:
        """See `Sampler.draw_batch`; guidance goes on from the memory that the last batch of the same prompt left."""
        ids = self.ids_of(batch)
        group = self.prompts[ids[0]]
        if batch > 0 and self.prompts[self.ids_of(batch - 1)[0]] == group:
            self.state.restore_memory(group, load_file(self.folder.path / _name(batch - 1)))
        if self.replayed:
            replay = load_file(self.replayed / _name(batch))
            self.state.replay = dict(zip(replay["edit_index"].tolist(), replay["edit_norm"], strict=True))
        with Attachment(self.pipeline, self.guidance, self.schedule, self.state):
            images = self.draw(ids)
        n_modes = len(self.state.semantics.bank.target) if self.state.semantics else 0
        tensors = {**self.state.trace.tensors(n_modes, len(ids)), **self.state.memory_tensors()}
        self.folder.add(batch, ids, images, tensors, self.records(batch, ids, images))


def _name(batch: int) -> str:
    return f"batch-{batch:05d}.safetensors"
