"""How a pipeline stacks the branches of classifier-free guidance in its denoiser's batch, by a rule for each class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from selfdebias.config.scales import part_of_scale, rule_of_part

STACKED = ("uncond", "cond")  # two contiguous halves
STATED, BY_SCALE, ONE = (
    "stated",
    "by scale",
    "one",
)  # does the pipeline say so, does its call's scale, or is it always one branch
TRANSFORMERS: Mapping[str, str] = {
    "StableDiffusion3Pipeline": STATED,
    "StableDiffusion3Img2ImgPipeline": STATED,
    "StableDiffusion3InpaintPipeline": STATED,
    "SanaPipeline": STATED,
    "PixArtAlphaPipeline": BY_SCALE,  # which keep it in a local variable of their call
    "PixArtSigmaPipeline": BY_SCALE,
    "FluxPipeline": ONE,  # whose `guidance_scale` is an input of the transformer
    "FluxImg2ImgPipeline": ONE,
}
NEGATIVE = ("negative_prompt", "negative_prompt_2", "negative_prompt_embeds")


def rule_of(pipeline: Any) -> str:
    """Return how a pipeline's class says its branches.

    Raises:
        ValueError: if it stacks more than two, or has a transformer and is none of the classes that are known.
    """
    kind = type(pipeline)
    known = {*dir(kind), *inspect.signature(kind.__call__).parameters}
    extra = [name for name in ("image_guidance_scale", "do_perturbed_attention_guidance") if name in known]
    if extra:
        raise ValueError(
            f"`pipeline` must stack at most two branches, got {kind.__name__}, whose `{extra[0]}` adds a third: "
            f"use the plain pipeline of the same model."
        )
    if getattr(pipeline, "transformer", None) is None:
        return BY_SCALE if "guidance_scale" in known and "do_classifier_free_guidance" not in known else STATED
    for it in kind.__mro__:
        if it.__name__ in TRANSFORMERS:
            return TRANSFORMERS[it.__name__]
    raise ValueError(f"`pipeline` must be a {', '.join(TRANSFORMERS)}, or have a UNet, got a {kind.__name__}.")


def scale_of(rule: str, pipeline: Any, arguments: Mapping[str, Any]) -> float | None:
    """Return the scale of classifier-free guidance in a call, None where there is one branch.

    Args:
        rule: what `rule_of` returned.
        pipeline: that is called.
        arguments: of the call, by name, defaults included.
    """
    if rule == BY_SCALE:
        scale = float(arguments["guidance_scale"] or 0)
        return scale if scale > 1 else None
    stated = rule == STATED and bool(getattr(pipeline, "do_classifier_free_guidance", False))
    return float(pipeline.guidance_scale) if stated else None


def refuse_call(pipeline: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse a call that runs the denoiser more than once at a step, or does not say how many steps it leaves out.

    Raises:
        ValueError: with the argument that asks for it.
    """
    if arguments.get("strength") is not None and not hasattr(type(pipeline), "num_timesteps"):
        raise ValueError(
            f"`pipeline` must say how many of its steps it runs (`num_timesteps`) where it leaves out the first ones by "
            f"`strength`, got a {type(pipeline).__name__}: use a pipeline of text to image of the same model."
        )
    if arguments.get("skip_guidance_layers") is not None:
        raise ValueError(
            f"`skip_guidance_layers` must be None while a pipeline is attached, got {arguments['skip_guidance_layers']!r}: it runs "
            f"the transformer once more at a step, without these layers."
        )
    negative = any(arguments.get(name) is not None for name in NEGATIVE)
    if negative and (scale := arguments.get("true_cfg_scale", 1.0)) > 1:
        raise ValueError(
            f"`true_cfg_scale` must be 1 while a pipeline is attached, or the negative prompt left out, got {scale}: the pipeline "
            f"calls its transformer for each branch by itself."
        )


def extrapolated(output: Tensor, scale: float, channels: int | None) -> Tensor:
    """Return ``eps_0 + w (eps_1 - eps_0)``, (B, ...), of predictions without and with an edit, stacked as (2 B, C, ...).

    Of a denoiser that predicts variances too, in as many further channels, those without the edit are kept, as diffusers guides
    the noise alone.

    Args:
        output: of the denoiser.
        scale: `w`.
        channels: of the denoiser's input.
    """
    unedited, edited = output.chunk(2)
    predicted = unedited + scale * (edited - unedited)
    if channels is None or output.ndim != 4 or output.shape[1] != 2 * channels:  # tokens (B, L, C) have no variances
        return predicted
    return torch.cat([predicted[:, :channels], unedited[:, channels:]], dim=1)


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
    # Of a consistency model the scale is an input of the UNet: with another one it is another model.
    embedded = getattr(getattr(getattr(pipe, "unet", None), "config", None), "time_cond_proj_dim", None) is not None
    if relative == 1 or embedded or rule_of(pipe) == ONE or not isinstance(scale, int | float):
        return call
    if scale > 1 >= part_of_scale(scale, relative):
        raise ValueError(f"`relative_scale` must be {rule_of_part(scale, 'the guidance scale')}, got {relative}.")
    return {**call, "guidance_scale": part_of_scale(scale, relative)}
