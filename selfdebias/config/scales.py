"""Classifier-free guidance scales: that of the images that are collected, as a part of the model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.config.rules import refuse

DISTILLED = ("FluxPipeline",)  # whose `guidance_scale` is an input of the model: a part of it is another model's


def part_of_scale(scale: float, relative: float) -> float:
    """A part of a classifier-free guidance scale; one that turns guidance off, at most 1, stays as it is.

    Example:
        >>> part_of_scale(7.5, 0.5), part_of_scale(1.0, 0.5)
        (3.75, 1.0)
    """
    return scale * relative if scale > 1 else scale


def rule_of_part(scale: float, name: str) -> str:
    """What a part of a guidance scale must be, so that both branches stay, in words.

    Example:
        >>> rule_of_part(1.5, "`model.guidance_scale`")
        '1, or larger than 0.667: `model.guidance_scale`, 1.5, times it must be larger than 1'
    """
    return f"1, or larger than {1 / scale:.3g}: {name}, {scale}, times it must be larger than 1"


def _scale_of(model: Mapping[str, Any]) -> float | None:
    """The scale of classifier-free guidance of a model's configuration; None where there is none."""
    return None if model.get("pipeline") in DISTILLED else model.get("guidance_scale")


def model_of_collect(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the model that the collected images are sampled from: `model` at its part of the guidance scale.

    A model without classifier-free guidance, or with a scale of 1, is as it is.

    Example:
        >>> model_of_collect({"model": {"steps": 50, "guidance_scale": 7.5}, "collect": {"relative_scale": 0.5}})
        {'steps': 50, 'guidance_scale': 3.75}
    """
    model, scale = dict(config["model"]), _scale_of(config["model"])
    relative = config["collect"].get("relative_scale", 1)
    return model if scale is None or relative == 1 else {**model, "guidance_scale": part_of_scale(scale, relative)}


def check_scale(model: Mapping[str, Any], relative: float) -> None:
    """Refuses a part that leaves no unconditional branch: guidance edits both, so that both have to be fitted.

    Args:
        model: the group's configuration.
        relative: `collect.relative_scale`.

    Raises:
        ConfigError: if `relative` is too small.
    """
    scale = _scale_of(model)
    if scale is not None and relative != 1 and scale > 1 >= part_of_scale(scale, relative):
        raise refuse("collect.relative_scale", rule_of_part(scale, "`model.guidance_scale`"), relative)
