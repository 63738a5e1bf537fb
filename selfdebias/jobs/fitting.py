"""Collect, discover and project on a pipeline that somebody holds in their hands."""

from __future__ import annotations

import difflib
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from selfdebias.backbones import HeldBackbone
from selfdebias.backbones.held import takes_prompts
from selfdebias.backbones.hspace import find_unet
from selfdebias.config.compose import compose_groups, conf_folder, digest, read_option
from selfdebias.config.overrides import options_of
from selfdebias.config.part_rules import check_projector, part_of_scale
from selfdebias.config.rules import NAMED, is_number
from selfdebias.config.targets import make
from selfdebias.encoders import encoder_from
from selfdebias.encoders.base import told_of
from selfdebias.guidance import Guidance, Semantics
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.semantics import AxesSemantics
from selfdebias.jobs.later_options import as_keyed
from selfdebias.jobs.model_card import TOLD
from selfdebias.jobs.quiet import settle_libraries
from selfdebias.jobs.stage_table import STAGES
from selfdebias.jobs.stages.collect import collect, read_identity
from selfdebias.jobs.stages.discover import discover
from selfdebias.jobs.stages.generate import read_semantics
from selfdebias.jobs.stages.project import name_of, project
from selfdebias.jobs.stages.project_bank import project_bank
from selfdebias.modes.naming import NoVocabulary
from selfdebias.report.privacy import without_places
from selfdebias.storage.atomic import read_json
from selfdebias.storage.stage_folder import StageFolder

WIDE = 256  # channels of a bottleneck from which on the projector reads it through a convolution
SET_BY_FIT = ("prompt", "batch_size", "generator", "output_type")


@dataclass(frozen=True)
class PromptCycle:
    """Several prompts that take turns."""

    texts: tuple[str, ...]

    def for_images(self, n_images: int) -> list[str]:
        """Return the prompt of each image, by id."""
        return [self.texts[i % len(self.texts)] for i in range(n_images)]


def default(group: str, option: str) -> Any:
    """Return the part that an option of ``conf/`` composes to."""
    return make(compose_groups([f"{group}={option}"]), group)


def guidance_named(name: str) -> Guidance:
    """Return the guidance that ``conf/guidance/<name>.yaml`` composes to.

    Raises:
        ValueError: if there is none of this name, or it makes no edits of its own, such as the random control.
    """
    options = options_of(conf_folder() / "guidance")
    if name not in options or not _edits(name):
        known = ", ".join(option for option in options if _edits(option))
        raise ValueError(f"`guidance` must be one of {known}, or an object, got {name!r}.")
    guidance = default("guidance", name)
    assert isinstance(guidance, Guidance)
    return guidance


def _edits(option: str) -> bool:
    """Whether an option of guidance makes edits of its own, which then have a size."""
    return not {"strength", "eta"}.isdisjoint(compose_groups([f"guidance={option}"])["guidance"])


def schedule_named(name: str) -> GuidanceWindow:
    """Return the schedule that ``conf/schedule/<name>.yaml`` describes.

    Raises:
        ValueError: if there is none of this name.
    """
    known = options_of(conf_folder() / "schedule")
    if name not in known:
        raise ValueError(f"`schedule` must be one of {', '.join(known)}, or an object, got {name!r}.")
    schedule = default("schedule", name)
    assert isinstance(schedule, GuidanceWindow)
    return schedule


def with_options(guidance: Guidance, options: Mapping[str, Any]) -> Guidance:
    """Return a guidance with some hyper-parameters changed; itself where there are none.

    Args:
        guidance: with its hyper-parameters as attributes.
        options: by name; None leaves one as it is.

    Raises:
        ValueError: if it has no such hyper-parameter, or refuses a value.
    """
    changed, own = {name: value for name, value in options.items() if value is not None}, vars(guidance)
    for name, value in changed.items():
        if name not in own:
            known = ", ".join(inspect.signature(type(guidance)).parameters)
            raise ValueError(f"`{name}` is no option of {type(guidance).__name__}, which has {known}.")
        _check_kind(name, value, own[name])
    return type(guidance)(**{**own, **changed}) if changed else guidance


def _check_kind(name: str, value: Any, before: Any) -> None:
    """Refuse a value of another kind than the one whose place it takes; a number may give way to a name, and None to anything."""
    if isinstance(before, bool) and not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False, got {value!r}.")
    if isinstance(before, int | float) and not isinstance(before, bool):
        named = NAMED.get(name, ())
        if value not in named if isinstance(value, str) else not is_number(value):
            raise ValueError(f"`{name}` must be {' or '.join(['a number', *named])}, got {value!r}.")
    if isinstance(before, str) and name not in NAMED and not isinstance(value, str):
        raise ValueError(f"`{name}` must be a text, got {value!r}.")


def fit_stages(
    pipe: Any, prompts: str | Sequence[str] | None, encoder: Any, *, n_images: int, batch_size: int, timesteps: int, seed: int,
    root: Path, clustering: Any, vocabulary: Any, projector: Mapping[str, Any], call: dict[str, Any],
    fitting_prompts: Sequence[str] = (), relative_scale: float = 1.0,
) -> tuple[Semantics | AxesSemantics, dict[str, Any]]:  # fmt: skip
    """Run the three stages under `root`; arguments as in `SelfDebias.fit`.

    Returns:
        Projector and bank; and what the model card says of them.
    """
    find_unet(pipe)
    texts, others = _texts(pipe, prompts), _others(prompts, fitting_prompts)
    encoder = encoder_from(encoder) if isinstance(encoder, str) else encoder
    clustering, vocabulary = clustering or default("clustering", "axes"), vocabulary or NoVocabulary()
    _check(n_images, batch_size, timesteps, clustering)
    _check_axes(clustering, n_images)
    _check_call(pipe, call)
    drawn = at_scale(pipe, call, relative_scale)
    described = projector_for(pipe.unet) | dict(projector)
    check_projector(described)
    settle_libraries()
    vocabulary.check(encoder)
    trainer, fit = default("trainer", "default"), make({"projector": described}, "projector")
    asked = {
        "model": _name(pipe), "weights": _weights(pipe.unet), "prompts": list(texts), "encoder": name_of(encoder),
        "n_images": n_images, "batch_size": batch_size, "timesteps": timesteps, "seed": seed, "call": _plain(call),
        "relative_scale": relative_scale,
    }  # fmt: skip
    drawing = (HeldBackbone(pipe, drawn), encoder, n_images, batch_size, timesteps, seed, trainer)
    collected = _drawn(root, asked, texts, *drawing)
    fitted = {"source": collected} | {text: _drawn(root, asked, (text,), *drawing) for text in others}
    asked |= {"clustering": repr(clustering), "vocabulary": repr(vocabulary)}
    carried = {"fitting_prompts": list(others)} if others else {}
    discovered = _run(
        root, "discover", asked, lambda folder, _: discover(folder, collected, clustering, vocabulary, encoder)
    )
    place = partial(project_bank, fitted=fitted) if others else partial(project, collected=collected)
    projected = _run(
        root, "project", {**asked, "projector": as_keyed("projector", described), **carried},
        lambda folder, _: place(
            folder, discovered=discovered, encoder=encoder, projector=fit, seed=seed, trainer=trainer
        ),
    )  # fmt: skip
    identity = read_identity(collected)
    found = {**asked, "told": told_of(encoder), **_told(pipe, texts), **carried, **_found(discovered, projected)}
    return read_semantics(projected), {**found, **({"unet": identity} if identity else {})}


def at_scale(pipe: Any, call: dict[str, Any], relative: float) -> dict[str, Any]:
    """Return the arguments of a call at a part of their classifier-free guidance scale; as they are where there is none.

    Args:
        pipe: the pipeline, whose own scale holds where `call` names none.
        call: arguments of the pipeline's call.
        relative: in (0, 1].

    Raises:
        ValueError: if `relative` is out of range, or leaves a scale that turns the unconditional branch off.
    """
    if not 0 < relative <= 1:
        raise ValueError(f"`relative_scale` must be in (0, 1], got {relative}.")
    known = inspect.signature(pipe.__call__).parameters.get("guidance_scale")
    scale = call.get("guidance_scale", None if known is None else known.default)
    if relative == 1 or not isinstance(scale, int | float):
        return call
    if scale > 1 >= part_of_scale(scale, relative):
        raise ValueError(
            f"`relative_scale` must leave a guidance scale larger than 1, got {relative} of {scale}: choose relative_scale=1."
        )
    return {**call, "guidance_scale": part_of_scale(scale, relative)}


def _drawn(
    root: Path, asked: Mapping[str, Any], texts: tuple[str, ...], backbone: HeldBackbone, encoder: Any, *sampling: Any
) -> Path:  # fmt: skip
    """Collect images of prompts, or find them again, and return their folder."""
    return _run(
        root, "collect", {**asked, "prompts": list(texts)},
        lambda folder, key: collect(folder, key, backbone, encoder, PromptCycle(texts), *sampling),
    )  # fmt: skip


def projector_for(unet: Any) -> dict[str, Any]:
    """Return the options of the projector that goes with a UNet's width: what ``conf/`` has for small and real models."""
    wide = int(unet.config.block_out_channels[-1]) >= WIDE
    return read_option("projector", "flattened") | (read_option("projector", "convolutional") if wide else {})


def _run(root: Path, stage: str, asked: Mapping[str, Any], run: Callable[[Path, str], None]) -> Path:
    """Run a stage under its lock, unless it is finished under the same key; returns its folder."""
    key = digest({**asked, "version": STAGES[stage].module.VERSION})
    folder = StageFolder(root, stage, key, asked["n_images"] if stage == "collect" else None)
    with folder.lock():
        if folder.finished:
            folder.check()
        else:
            run(folder.path, key)
            folder.finish({"asked": dict(asked)})
    return folder.path


def _found(discovered: Path, projected: Path) -> dict[str, Any]:
    modes, measured = read_json(discovered / "modes.json"), read_json(projected / "project.json")
    found = {name: modes[name] for name in TOLD if name in modes}
    return {"modes": found, "projector_cosine": measured["cosine_held_out"]}


def _told(pipe: Any, texts: Sequence[str]) -> dict[str, Any]:
    """What the model card says of a pipeline: its class, its name without a place, and the prompts that it takes."""
    prompts = list(texts) if takes_prompts(pipe) else [""]
    return {"pipeline": type(pipe).__name__, "model": _known_as(_name(pipe)), "prompts": prompts}


def _texts(pipe: Any, prompts: str | Sequence[str] | None) -> tuple[str, ...]:
    if prompts is None and not takes_prompts(pipe):
        return ("",)
    if prompts is None:
        raise ValueError(f"`prompts` must be given for {type(pipe).__name__}, which draws what it is asked for.")
    return _given_texts(prompts)


def _given_texts(prompts: str | Sequence[str]) -> tuple[str, ...]:
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    blank = [text for text in texts if not isinstance(text, str) or not text.strip()]
    if blank or not texts:
        raise ValueError(f"`prompts` must be texts that are not blank, got {blank[0] if blank else prompts!r}.")
    return texts


def _others(prompts: str | Sequence[str] | None, fitting_prompts: Sequence[str]) -> tuple[str, ...]:
    """Return the prompts to fit on beside those of the modes.

    Raises:
        ValueError: if one is blank or there twice.
    """
    if isinstance(fitting_prompts, str) or any(not isinstance(it, str) or not it.strip() for it in fitting_prompts):
        raise ValueError(f"`fitting_prompts` must be a list of texts that are not blank, got {fitting_prompts!r}.")
    if len(set(fitting_prompts)) < len(fitting_prompts):
        raise ValueError(f"`fitting_prompts` must be different, got {list(fitting_prompts)!r}.")
    own = () if prompts is None else _given_texts(prompts)
    return tuple(text for text in fitting_prompts if text not in own)


def _check(n_images: int, batch_size: int, timesteps: int, clustering: Any) -> None:
    for name, value in (("batch_size", batch_size), ("timesteps", timesteps)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
    if getattr(clustering, "space", "image") == "projected":
        raise ValueError(
            "`clustering.space` must be image or residual in fit, got 'projected': the command line runs project first."
        )
    given = getattr(clustering, "k", None)
    least = 2 * int(getattr(clustering, "k_max", 1) if given is None else given)
    if n_images < least:
        raise ValueError(
            f"`n_images` must be at least {least}, twice the most modes that clustering tries, got {n_images}."
        )


def _check_axes(clustering: Any, n_images: int) -> None:
    """Refuse, before an image is drawn, axes that cannot be found."""
    if "recurrence" in getattr(clustering, "get_params", dict)():
        clustering.check(n_images)


def _check_call(pipe: Any, call: Mapping[str, Any]) -> None:
    """Refuse arguments that the pipeline does not have; diffusers itself lets many of them pass."""
    known = [
        name for name in inspect.signature(type(pipe).__call__).parameters if name not in ("self", "args", "kwargs")
    ]
    for name in call:
        if name in SET_BY_FIT:
            raise ValueError(f"`call` must leave {', '.join(SET_BY_FIT)} to fit, got {name!r}.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(known)}."
            raise ValueError(f"`call` must hold arguments of {type(pipe).__name__}, got {name!r}: {hint}")


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


def _plain(call: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments as JSON values; what is none is given by its `repr`."""
    return {
        key: value if isinstance(value, str | int | float | bool | None) else repr(value) for key, value in call.items()
    }
