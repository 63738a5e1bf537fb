"""The arms of a job: what guides each of them, and the model that they are drawn with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from selfdebias.config.combinations import part_of_scale
from selfdebias.config.compose import read_option

UNEDITED = ("vanilla", "attribute_prompts")  # arms whose images no edit touches


def guidance_of_arms(guidance: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The guidance of each arm: vanilla always; guided, if there is a guidance; and one beside it, if it has an `of`.

    Args:
        guidance: The group's configuration. Its `of`, if it has one, is the guidance of the guided arm, and itself that of the
            third arm: `random`, which replays the other's edits, or `attribute_prompts`, if it has `texts`.
    """
    none = read_option("guidance", "none")
    if guidance["_target_"] == none["_target_"]:
        return {"vanilla": none}
    if "of" not in guidance:
        return {"vanilla": none, "guided": dict(guidance)}
    own = {key: value for key, value in guidance.items() if key != "of"}
    third = "attribute_prompts" if "texts" in own else "random"
    return {"vanilla": none, "guided": dict(guidance["of"]), third: own}


def model_of_collect(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the model that the collected images are drawn with: `model` at its part of the guidance scale.

    A model without a guidance scale, or with one of 1, is as it is.

    Example:
        >>> model_of_collect({"model": {"steps": 50, "guidance_scale": 7.5}, "collect": {"relative_scale": 0.5}})
        {'steps': 50, 'guidance_scale': 3.75}
    """
    model, scale = dict(config["model"]), config["model"].get("guidance_scale")
    relative = config["collect"].get("relative_scale", 1)
    return model if scale is None or relative == 1 else {**model, "guidance_scale": part_of_scale(scale, relative)}


def draws_reference(config: Mapping[str, Any]) -> bool:
    """Whether reference images have to be drawn, since the collected ones are not of the model that arms are drawn with."""
    return config["evaluate"].get("reference") is None and model_of_collect(config) != model_of_arms(config)


def reference_count(config: Mapping[str, Any]) -> int:
    """How many reference images are drawn where `draws_reference`: `evaluate.reference_images`, and no more than collect draws."""
    return min(config["evaluate"]["reference_images"], config["collect"]["n_images"])


def model_of_arms(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the model that arms are drawn with: `model`, and what `generate.sampler` changes.

    Example:
        >>> model_of_arms({"model": {"steps": 50, "eta": 0.0}, "generate": {"sampler": {"steps": 20}}})
        {'steps': 20, 'eta': 0.0}
    """
    merged = OmegaConf.merge(dict(config["model"]), dict(config["generate"].get("sampler") or {}))
    content = OmegaConf.to_container(merged)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
