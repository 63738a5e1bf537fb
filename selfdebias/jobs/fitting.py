"""Collect, discover and project on an already loaded pipeline, by the stages and the runner of a job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from selfdebias.backbones import HeldBackbone
from selfdebias.backbones.calling import takes_prompts
from selfdebias.config.keys import as_keyed, digest
from selfdebias.config.targets import make
from selfdebias.encoders.base import told_of
from selfdebias.guidance import Semantics
from selfdebias.jobs.fit_arguments import FitArguments
from selfdebias.jobs.model_card import TOLD
from selfdebias.jobs.parts import default, settle_libraries
from selfdebias.jobs.stage import Runner, Stage, folder_of
from selfdebias.jobs.stages import collect, discover, project
from selfdebias.jobs.stages.collect import read_identity
from selfdebias.jobs.stages.generate import read_semantics
from selfdebias.modes.semantics import AxesSemantics
from selfdebias.report.privacy import without_places
from selfdebias.storage.atomic import read_json


@dataclass(frozen=True)
class PromptCycle:
    """Several prompts that take turns."""

    texts: tuple[str, ...]

    def for_images(self, n_images: int) -> list[str]:
        """Return the prompt of each image, by id."""
        return [self.texts[i % len(self.texts)] for i in range(n_images)]


def fit_stages(asked: FitArguments, root: Path) -> tuple[Semantics | AxesSemantics, dict[str, Any]]:
    """Run the three stages under `root`, or find them there.

    Returns:
        Projector and bank; and what the model card says of them.
    """
    settle_libraries()
    asked.vocabulary.check(asked.encoder)
    images = _images_of(asked)
    found = {**images, "clustering": repr(asked.clustering), "vocabulary": repr(asked.vocabulary)}
    stages = _stages(asked, images, found)
    runner = Runner(root, {}, say=lambda _: None)  # the progress bars say enough
    for stage in stages:
        runner.run(stage)
    collected, *_, discovered, projected = (folder_of(stage, root).path for stage in stages)
    modes, measured = read_json(discovered / "modes.json"), read_json(projected / "project.json")
    identity = read_identity(collected)
    facts = {
        **found, "told": told_of(asked.encoder), "pipeline": type(asked.pipe).__name__, "model": _known_as(_name(asked.pipe)),
        "prompts": list(asked.texts) if takes_prompts(asked.pipe) else [""],
        **({"fitting_prompts": list(asked.others)} if asked.others else {}),
        "modes": {name: modes[name] for name in TOLD if name in modes}, "projector_cosine": measured["cosine_held_out"],
        **({"unet": identity} if identity else {}),
    }  # fmt: skip
    return read_semantics(projected), facts


def _stages(asked: FitArguments, images: Mapping[str, Any], found: Mapping[str, Any]) -> list[Stage]:
    """Collect for the prompts of the modes and for each further one, discover, project.

    Args:
        asked: the arguments.
        images: what the images depend on.
        found: what the modes depend on.
    """
    trainer, seed = default("trainer", "default"), asked.seed
    collected, *further = [
        _stage(
            "collect", collect.collect, collect.VERSION, {**images, "prompts": list(texts)},
            backbone=HeldBackbone(asked.pipe, asked.drawn), encoder=asked.encoder, prompts=PromptCycle(texts),
            n_images=asked.n_images, batch_size=asked.batch_size, timesteps=asked.timesteps, seed=seed, trainer=trainer,
        )
        for texts in (asked.texts, *((text,) for text in asked.others))
    ]  # fmt: skip
    discovered = _stage(
        "discover", discover.discover, discover.VERSION, found,
        collected=collected, clustering=asked.clustering, vocabulary=asked.vocabulary, encoder=asked.encoder,
    )  # fmt: skip
    carried = {"fitting_prompts": list(asked.others)} if asked.others else {}
    fitted = {"source": collected, **dict(zip(asked.others, further, strict=True))}
    projected = _stage(
        "project", project.project, project.VERSION,
        {**found, "projector": as_keyed("projector", asked.projector), **carried},
        **({"fitted": fitted} if asked.others else {"collected": collected}), discovered=discovered, encoder=asked.encoder,
        projector=make({"projector": asked.projector}, "projector"), seed=seed, trainer=trainer,
    )  # fmt: skip
    return [collected, *further, discovered, projected]


def _stage(
    kind: str, function: Callable[..., None], version: int, asked: Mapping[str, Any], **arguments: Any
) -> Stage:  # fmt: skip
    """Return a stage whose key is made of what was asked for, as there is no configuration."""
    return Stage(kind, digest({**asked, "version": version}), {"asked": dict(asked)}, function, arguments)


def _images_of(asked: FitArguments) -> dict[str, Any]:
    """Return what the images depend on, as JSON values; an argument of the call that is none is given by its `repr`."""
    call = {
        key: value if isinstance(value, str | int | float | bool | None) else repr(value)
        for key, value in asked.call.items()
    }
    return {
        "model": _name(asked.pipe), "weights": _weights(asked.pipe.unet), "prompts": list(asked.texts),
        "encoder": project.name_of(asked.encoder), "n_images": asked.n_images, "batch_size": asked.batch_size,
        "timesteps": asked.timesteps, "seed": asked.seed, "call": call, "relative_scale": asked.relative_scale,
    }  # fmt: skip


def _name(pipe: Any) -> str:
    return str(getattr(pipe, "name_or_path", "") or getattr(pipe.config, "_name_or_path", "") or type(pipe).__name__)


def _known_as(name: str) -> str:
    """Return a model's name as others may read it: of a folder of this computer its last part, of one that ships its name."""
    testbed = Path(__file__).parent.parent / "testbed"
    return (
        f"shipped:{Path(name).name}" if Path(name).resolve().parent == testbed else without_places(name, "pretrained")
    )


def _weights(unet: torch.nn.Module) -> str:
    """Return a digest of the weights, so that images of another model in the same folder are not taken for this one's."""
    hashed = hashlib.sha256()
    for value in unet.state_dict().values():
        hashed.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()[:16]
