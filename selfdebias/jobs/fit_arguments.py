"""What `SelfDebias.fit` refuses of its arguments, before an image is drawn, and what it makes of them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfdebias.backbones.calling import takes_prompts
from selfdebias.backbones.hspace import find_unet
from selfdebias.config.combinations import part_of_scale
from selfdebias.config.compose import read_option
from selfdebias.config.ranges import check_values
from selfdebias.encoders import encoder_from
from selfdebias.jobs.parts import default, part_of
from selfdebias.modes.estimator import Clustering
from selfdebias.modes.naming import NoVocabulary

WIDE = 256  # channels of a bottleneck from which on the projector reads it through a convolution
SET_BY_FIT = ("prompt", "batch_size", "generator", "output_type")


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
    relative_scale: float
    texts: tuple[str, ...] = field(init=False)
    others: tuple[str, ...] = field(init=False)
    drawn: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        find_unet(self.pipe)
        self.texts = _texts(self.pipe, self.prompts)
        self.others = _others(self.prompts, self.fitting_prompts)
        self.encoder = encoder_from(self.encoder) if isinstance(self.encoder, str) else self.encoder
        self.clustering = part_of("clustering", self.clustering, Clustering) or default("clustering", "axes")
        self.vocabulary = self.vocabulary or NoVocabulary()
        _check_counts(self.n_images, self.batch_size, self.timesteps, self.clustering)
        _check_call(self.pipe, self.call)
        self.drawn = at_scale(self.pipe, self.call, self.relative_scale)
        self.projector = projector_for(self.pipe.unet) | dict(self.projector)
        check_values("projector", self.projector)


def _texts(pipe: Any, prompts: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the prompts to find modes on, "" for a pipeline that takes none.

    Raises:
        ValueError: if one is blank, or there is none and the pipeline needs one.
    """
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


def _check_counts(n_images: int, batch_size: int, timesteps: int, clustering: Clustering) -> None:
    """Refuse counts below 1, and too few images for the modes, or the axes, that clustering looks for.

    Raises:
        ValueError: with the first of them.
    """
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
        raise ValueError(
            f"`n_images` must be at least {least}, twice the most modes that clustering tries, got {n_images}."
        )
    clustering.check(n_images)


def _check_call(pipe: Any, call: Mapping[str, Any]) -> None:
    """Refuse arguments that the pipeline does not have; diffusers itself lets many of them pass.

    Raises:
        ValueError: with the first of them.
    """
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


def projector_for(unet: Any) -> dict[str, Any]:
    """Return the options of the projector that goes with a UNet's width: what ``conf/`` has for small and real models."""
    wide = int(unet.config.block_out_channels[-1]) >= WIDE
    return read_option("projector", "flattened") | (read_option("projector", "convolutional") if wide else {})
