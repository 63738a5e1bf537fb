"""Generate: draw one arm, vanilla or guided, from the seeds that all arms share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from selfdebias.backbones.rows import RowCount
from selfdebias.config.prompts import Prompts
from selfdebias.config.rules import ConfigError
from selfdebias.guidance import Guidance, GuidanceState
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.base import Method, check_all
from selfdebias.guidance.baselines import ReplayedSizes
from selfdebias.guidance.collective import ALONE, Collective
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.selection import Selection
from selfdebias.guidance.shares import wanted_of_all
from selfdebias.jobs.stages.chosen import ChosenSampler, modes_of_images
from selfdebias.jobs.stages.fitted_files import read_semantics
from selfdebias.jobs.stages.sampling import CostMeter, PromptSampler
from selfdebias.storage.atomic import write_json
from selfdebias.storage.batches import BatchFolder

VERSION = 3
CONFIG = ("model", "guidance", "schedule", "prompts.text", "prompts.templates", "generate")


def generate(
    folder: Path, key: str, arm: str, backbone: Any, guidance: Method, schedule: GuidanceWindow, prompts: Prompts,
    n_images: int, batch_size: int, seed: int, projected: Path | None, replayed: Path | None,
    trainer: Callable[..., pl.Trainer], collective: Collective = ALONE, discovered: Path | None = None,
    encoder: Any = None, modes: Path | None = None,
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
        collective: the processes that draw each batch together, and guide it as one.
        discovered: folder of the discover stage, if it is that which has the bank; None where the project stage has it.
        encoder: images to unit embeddings; None for what does not look at finished images.
        modes: folder of the discover stage that has the modes of those; None as with `encoder`.
    """
    store = BatchFolder(folder, key, collective.part)
    semantics = read_semantics(projected, discovered) if projected else None
    state = GuidanceState(semantics if guidance.needs_semantics else None)
    if semantics:  # a control without semantics edits in the same places
        state.projector, state.sites = semantics.projector, semantics.sites
    check_shares(guidance, state)
    images = prompts.for_images(n_images)
    check_prompts(images, state)
    sampling = (store, backbone, images, batch_size, "generate", seed, collective)
    sampler: ArmSampler | ChosenSampler
    if isinstance(guidance, Selection):
        look = modes_of_images(encoder, modes) if encoder and modes else None
        sampler = ChosenSampler(guidance, schedule, state, look, *sampling)
    else:
        assert isinstance(guidance, Guidance)
        sampler = ArmSampler(guidance, schedule, state, replayed, *sampling)
    with CostMeter() as meter:
        sampler.run(trainer)
    if collective.part:
        return
    cost = _cost(meter, meter.seconds - sampler.loading, sampler.drawn, state.seconds)
    counted = [int(tensors["rows"]) for _, tensors in store.tensors() if "rows" in tensors]
    if len(counted) == len(sampler.batches):  # a stage that an earlier version began has not counted all
        cost["rows_per_image"] = sum(counted) / n_images
    facts = {**_facts_of_images(guidance, replayed, store), "guidance": _facts(guidance, state)}
    write_json(folder / "generate.json", {"arm": arm, **cost, "processes": collective.among, **facts})


def _cost(meter: CostMeter, seconds: float, images: int, guided: float) -> dict[str, Any]:
    """What was measured: the memory, with that of loading; the seconds of sampling alone, with those of guidance among them.

    A stage that was killed after its last batch has none left to time.
    """
    if not images:
        return {"peak_memory_mb": None}
    time = {
        "seconds_per_image": seconds / images,
        "timed_images": images,
        "guidance_share": guided / seconds,
    }
    return {**time, "peak_memory_mb": meter.peak_memory_mb}


def _facts_of_images(guidance: Method, replayed: Path | None, store: BatchFolder) -> dict[str, Any]:
    """What the images depend on, what was told, and how many edits were skipped or made where seeds were chosen."""
    told = {"told": guidance.told} if guidance.told else {}
    every = [tensors for _, tensors in store.tensors()]
    edited = {"edited": sum(int(it["edited"].sum()) for it in every)} if isinstance(guidance, Selection) else {}
    skipped = sum(int(it.get("skipped", 0)) for it in every)
    return {"dependence": _dependence(guidance, replayed, every), **told, "skipped_edits": skipped, **edited}


def _dependence(guidance: Method, replayed: Path | None, batches: Sequence[Mapping[str, Any]]) -> str:
    """What an image of the arm depends on; edits whose sizes are replayed depend on what the other arm's do.

    What the last batch leaves owed goes to none, so that one batch alone depends on nothing.
    """
    if replayed is not None:
        return str(json.loads((replayed / "generate.json").read_text())["dependence"])
    if guidance.dependence == "run" and len(batches) == 1:
        return "batch"
    if guidance.dependence != "remainder":
        return guidance.dependence
    owed = [it for tensors in batches[:-1] for name, it in tensors.items() if name.rpartition("/")[2] == "owed"]
    return "run" if any(it.any() for it in owed) else "batch"  # with axes, each owes its own


def _facts(guidance: Method, state: GuidanceState) -> dict[str, Any]:
    """The guidance as it is written down, its target as shares."""
    facts = description(guidance)
    asked = facts.get("target") is not None or facts.get("axes") is not None
    if asked and state.semantics:
        facts["target"] = wanted_of_all(guidance, state.semantics)
    return facts


def description(part: Method) -> dict[str, Any]:
    """The class and the hyper-parameters of a guidance, and of the one in it."""
    values = {name: description(value) if isinstance(value, Guidance) else value for name, value in vars(part).items()}
    return {"class": type(part).__name__, **values}


def check_shares(guidance: Method, state: GuidanceState) -> None:
    """Refuse, before an image is drawn, modes that the guidance cannot work with.

    Raises:
        ConfigError: if it cannot.
    """
    if state.semantics:
        try:
            check_all(guidance, state.semantics)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def check_prompts(prompts: Sequence[str], state: GuidanceState) -> None:
    """Refuse, before an image is drawn, prompts that the bank does not know.

    Raises:
        ConfigError: with the first such prompt.
    """
    try:
        for prompt in dict.fromkeys(prompts if state.semantics else ()):
            state.semantics.of_prompt(prompt)  # type: ignore[union-attr]
    except ValueError as error:
        raise ConfigError(str(error).replace("`prompt` must be", "`prompts` must be", 1)) from error


class ArmSampler(PromptSampler):
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
        super().__init__(state, *sampling)
        self.guidance, self.schedule, self.replayed = guidance, schedule, replayed

    def draw_batch(self, batch: int, ids: Sequence[int]) -> None:
        """See `Sampler.draw_batch`."""
        self.state.collective = self.team
        self.go_on(batch, ids)
        if self.replayed:  # the sizes (B,) of the edits that the other arm made to these images, by `Step.visit`
            found = BatchFolder.open(self.replayed).tensors_of(batch)
            sizes = found["edit_norm"][:, [self.batches[batch].index(i) for i in ids]]
            self.state.of(ReplayedSizes).sizes = dict(zip(found["edit_index"].tolist(), sizes, strict=True))
        with RowCount(self.pipeline) as count, Attachment(self.pipeline, self.guidance, self.schedule, self.state):
            images = self.draw(ids)
        n_modes = len(self.state.semantics.bank.target) if self.state.semantics else 0
        traced, kept = self.state.trace.tensors(n_modes, len(ids)), self.state.kept_tensors()
        if taken := sorted((traced.keys() | {"rows"}) & kept.keys()):
            name = type(self.guidance).__name__
            words = f"`guidance` must keep its tensors under names other than the trace's {', '.join(sorted(traced))}"
            raise ConfigError(
                f"{words}; got {', '.join(taken)} of {name}: give it another name in `MethodState.tensors`."
            )
        self.keep(
            batch, ids, images, {**traced, **kept, "rows": self.team.sum(torch.tensor(count.rows))}, {"edit_norm": 1}
        )
