"""Collect, discover and project on an already loaded pipeline, by the stages and the runner of a job; and the arguments of that."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from selfdebias.backbones import HeldBackbone
from selfdebias.backbones.denoisers import check_blocks, find_denoiser
from selfdebias.backbones.layouts import at_scale
from selfdebias.backbones.pretrained import takes_prompts
from selfdebias.config.keys import as_keyed, digest
from selfdebias.config.ranges import check_values
from selfdebias.config.rules import nearest, refuse
from selfdebias.config.targets import make
from selfdebias.encoders import encoder_from
from selfdebias.encoders.base import told_of
from selfdebias.guidance import Semantics
from selfdebias.jobs.fit_keys import argument_key, encoder_key, pipeline_key, vocabulary_key, weights_of
from selfdebias.jobs.fitted_in_words import shares_by_prompt
from selfdebias.jobs.libraries import settled_libraries
from selfdebias.jobs.model_card import TOLD, known_as
from selfdebias.jobs.parts import default, part_of, projector_for, trainer_on
from selfdebias.jobs.progress import with_progress
from selfdebias.jobs.prompts import PromptCycle
from selfdebias.jobs.stage import Runner, Stage, folder_of, inputs_of
from selfdebias.jobs.stages import collect, discover, project
from selfdebias.jobs.stages.collected import read_identity
from selfdebias.jobs.stages.fitted_files import read_semantics
from selfdebias.modes.banks import SHARED, THRESHOLD
from selfdebias.modes.estimator import Clustering
from selfdebias.modes.naming import NoVocabulary
from selfdebias.modes.semantics import AxesSemantics
from selfdebias.storage.atomic import read_json

SET_BY_FIT = ("prompt", "batch_size", "generator", "output_type", "return_dict", "num_images_per_prompt")


@dataclass
class FitArguments:
    """The arguments of `SelfDebias.fit`, checked before an image is drawn; where they are None, what is taken in their place.

    Attributes:
        texts: the prompts to find modes on.
        others: the prompts to fit on beside these.
        drawn: arguments of each call that samples, at its part of the guidance scale.

    Raises:
        ValueError: if one is out of range, or the pipeline cannot be guided.
    """

    pipe: Any
    prompts: str | Sequence[str] | None
    encoder: Any
    n_images: int
    batch_size: int
    timesteps: int
    seed: int
    clustering: Any
    vocabulary: Any
    projector: Mapping[str, Any]
    call: dict[str, Any]
    fitting_prompts: Sequence[str]
    threshold: str
    relative_scale: float
    blocks: Sequence[int] | None
    texts: tuple[str, ...] = field(init=False)
    others: tuple[str, ...] = field(init=False)
    drawn: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        denoiser = find_denoiser(self.pipe)
        check_blocks(denoiser, self.blocks)
        self.texts = _texts(self.pipe, self.prompts)
        self.others = _others(self.texts, self.fitting_prompts)
        self.threshold = _threshold(self.threshold, self.others)
        self.encoder = encoder_from(self.encoder) if isinstance(self.encoder, str) else self.encoder
        self.clustering = part_of("clustering", self.clustering, Clustering) or default("clustering", "axes")
        self.vocabulary = part_of("vocabulary", self.vocabulary, object) or NoVocabulary()
        if not hasattr(self.vocabulary, "describe"):
            raise ValueError(f"`vocabulary` must be a name or a Vocabulary, got {self.vocabulary!r}.")
        _check_counts(self.n_images, self.batch_size, self.timesteps, self.clustering)
        _check_call(self.pipe, self.call)
        self.drawn = at_scale(self.pipe, self.call, self.relative_scale)
        if not isinstance(self.projector, Mapping):
            raise ValueError(f"`projector` must be options by name, such as {{'steps': 1000}}, got {self.projector!r}.")
        self.projector = projector_for(denoiser) | dict(self.projector)
        check_values("projector", self.projector)


def _texts(pipe: Any, prompts: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the prompts to find modes on, "" for a pipeline that takes none."""
    if prompts is None and not takes_prompts(pipe):
        return ("",)
    if prompts is None:
        raise ValueError(f"`prompts` must be given for {type(pipe).__name__}, which draws what it is asked for.")
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    blank = [text for text in texts if not isinstance(text, str) or not text.strip()]
    if blank or not texts:
        raise ValueError(f"`prompts` must be texts that are not blank, got {blank[0] if blank else prompts!r}.")
    return texts


def _others(texts: Sequence[str], fitting_prompts: Sequence[str]) -> tuple[str, ...]:
    """Return the prompts to fit on beside those of the modes, `texts`."""
    if isinstance(fitting_prompts, str) or any(not isinstance(it, str) or not it.strip() for it in fitting_prompts):
        raise ValueError(f"`fitting_prompts` must be a list of texts that are not blank, got {fitting_prompts!r}.")
    if len(set(fitting_prompts)) < len(fitting_prompts):
        raise ValueError(f"`fitting_prompts` must be different, got {list(fitting_prompts)!r}.")
    return tuple(text for text in fitting_prompts if text not in texts)


def _check_counts(n_images: int, batch_size: int, timesteps: int, clustering: Clustering) -> None:
    """Refuse counts below 1, and too few images for the modes, or the axes, that clustering looks for."""
    for name, value in (("batch_size", batch_size), ("timesteps", timesteps)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
    if clustering.space == "projected":
        raise ValueError(
            "`clustering.space` must be image or residual in fit, got 'projected': the command line runs project first."
        )
    given = getattr(clustering, "k", None)
    least = 2 * int(getattr(clustering, "k_max", 1) if given is None else given)
    if n_images < least:
        words = f"at least {least}, twice the most modes that clustering tries"
        raise ValueError(f"`n_images` must be {words}, got {n_images}.")
    try:
        clustering.check(n_images)
    except ValueError as error:  # which speaks of the command line
        said = (
            str(error)
            .replace("`collect.n_images`", "`n_images`")
            .replace("clustering=spectral", "clustering='spectral'")
        )
        raise ValueError(said) from None


def _check_call(pipe: Any, call: Mapping[str, Any]) -> None:
    """Refuse arguments that the pipeline does not have; diffusers itself lets many of them pass."""
    own = ("self", "args", "kwargs")
    known = [name for name in inspect.signature(type(pipe).__call__).parameters if name not in own]
    for name in call:
        if name in SET_BY_FIT:
            raise ValueError(f"`call` must leave {', '.join(SET_BY_FIT)} to fit, got {name!r}.")
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean `{near}`?" if near else f"it has {', '.join(known)}."
            raise ValueError(f"`call` must hold arguments of {type(pipe).__name__}, got {name!r}: {hint}")


@settled_libraries()
def fit_stages(asked: FitArguments, root: Path) -> tuple[Semantics | AxesSemantics, dict[str, Any], Path]:
    """Run the three stages under `root`, or find them there.

    Returns:
        Projector and bank; what the model card says of them; and where a sheet of images of each mode is, ``mode-*.png``.
    """
    asked.vocabulary.check(asked.encoder)
    images = _images_of(asked)
    found = {**images, "clustering": repr(asked.clustering), "vocabulary": repr(asked.vocabulary)}
    stages = _stages(asked, images, found)
    runner, place = Runner(root, {}), _place_of(asked.encoder)
    for stage in stages:
        runner.run(stage)
    if place is not None:
        asked.encoder.to(place)  # Lightning leaves a module on the processor
    collected, *_, discovered, projected = (folder_of(stage, root).path for stage in stages)
    modes, measured = read_json(discovered / "modes.json"), read_json(projected / "project.json")
    identity = read_identity(collected)
    facts = {
        **found, "told": told_of(asked.encoder), "pipeline": type(asked.pipe).__name__, "model": known_as(images["model"]),
        "prompts": list(asked.texts) if takes_prompts(asked.pipe) else [""],
        **({"fitting_prompts": list(asked.others)} if asked.others else {}),
        **({"threshold": asked.threshold} if asked.threshold != SHARED else {}),
        "modes": {name: modes[name] for name in TOLD if name in modes}, "projector_cosine": measured["cosine_held_out"],
        **({"unet": identity} if identity else {}),
    }  # fmt: skip
    if len(asked.texts) > 1:
        facts["modes"]["by_prompt"] = shares_by_prompt(modes, asked.texts)
    return read_semantics(projected), facts, discovered / "mode-*.png"


def _stages(asked: FitArguments, images: Mapping[str, Any], found: Mapping[str, Any]) -> list[Stage]:
    """Collect for the prompts of the modes and for each further one, discover, project; `images` and `found` go into the keys."""
    trainer, seed = with_progress(trainer_on(asked.pipe)), asked.seed
    drawn = {**images, **pipeline_key(asked.pipe), "encoder_itself": encoder_key(asked.encoder)}
    collected, *further = [
        _stage(
            "collect", collect.collect, collect.VERSION,
            {**drawn, "prompts": list(texts)},
            backbone=HeldBackbone(asked.pipe, asked.drawn, asked.blocks), encoder=asked.encoder, prompts=PromptCycle(texts),
            n_images=asked.n_images, batch_size=asked.batch_size, timesteps=asked.timesteps, seed=seed, trainer=trainer,
        )
        for texts in (asked.texts, *((text,) for text in asked.others))
    ]  # fmt: skip
    discovered = _stage(
        "discover", discover.discover, discover.VERSION, {**found, "captions": vocabulary_key(asked.vocabulary)},
        collected=collected, clustering=asked.clustering, vocabulary=asked.vocabulary, encoder=asked.encoder,
    )  # fmt: skip
    carried: dict[str, Any] = {"fitting_prompts": list(asked.others)} if asked.others else {}
    apart = {} if asked.threshold == SHARED else {"threshold": asked.threshold}
    fitted = {"source": collected, **dict(zip(asked.others, further, strict=True))}
    projected = _stage(
        "project", project.project, project.VERSION,
        {**found, "projector": as_keyed("projector", asked.projector), **carried, **apart},
        **({"fitted": fitted} if asked.others else {"collected": collected}), discovered=discovered, encoder=asked.encoder,
        projector=make({"projector": asked.projector}, "projector"), seed=seed, trainer=trainer, **apart,
    )  # fmt: skip
    return [collected, *further, discovered, projected]


def _stage(
    kind: str, function: Callable[..., None], version: int, asked: Mapping[str, Any], **arguments: Any
) -> Stage:  # fmt: skip
    """Return a stage whose key is made of what was asked for, as there is no configuration, and of the stages that it reads."""
    inputs = {**inputs_of(arguments), **arguments.get("fitted", {})}
    key = digest({**asked, "version": version, "inputs": {name: stage.key for name, stage in inputs.items()}})
    return Stage(kind, key, {"asked": dict(asked)}, function, arguments)


def _place_of(encoder: Any) -> torch.device | None:
    """Return the device of an encoder that is a module with weights, else None."""
    return next((it.device for it in encoder.parameters()), None) if isinstance(encoder, torch.nn.Module) else None


def _threshold(threshold: str, others: Sequence[str]) -> str:
    """Return where sides part, as in `CarriedBank`."""
    if not THRESHOLD.holds(threshold):
        raise refuse("threshold", THRESHOLD.words, threshold)
    if threshold != SHARED and not others:
        raise refuse("threshold", f"{SHARED} without `fitting_prompts`", threshold)
    return threshold


def _images_of(asked: FitArguments) -> dict[str, Any]:
    """Return what the images depend on, as JSON values; see `argument_key` for those of the call."""
    pipe = asked.pipe
    name = getattr(pipe, "name_or_path", "") or getattr(pipe.config, "_name_or_path", "") or type(pipe).__name__
    return {
        "model": str(name), "weights": weights_of(find_denoiser(pipe).module), "prompts": list(asked.texts),
        "encoder": project.name_of(asked.encoder), "n_images": asked.n_images, "batch_size": asked.batch_size,
        "timesteps": asked.timesteps, "seed": asked.seed,
        "call": {name: argument_key(value) for name, value in asked.call.items()},
        "relative_scale": asked.relative_scale, **({"blocks": list(asked.blocks)} if asked.blocks else {}),
    }  # fmt: skip
