"""Groups: the images of a pipeline call that are sampled from the same prompt and conditioning, and the rule that guides them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from selfdebias.backbones.calling import Step
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.schedules import GuidanceWindow

EMBEDDED = "embeddings "  # what the group of a prompt starts with that is given by its embeddings
CONDITIONS = (
    "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3", "negative_prompt_embeds",
    "pooled_prompt_embeds", "negative_pooled_prompt_embeds",
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """How, and when, a group is guided.

    Attributes:
        guidance: how `h_t` is edited.
        schedule: when, and how strongly.
    """

    guidance: Guidance
    schedule: GuidanceWindow

    def at(self, step: Step) -> Step:
        """Return the step with the schedule's weight; where `h_t` is edited after several blocks, each has its part of it."""
        weight = self.schedule.weight(step.index, step.count, step.alpha_bar)
        return replace(step, weight=weight / step.sites, stop=self.schedule.stop)


@dataclass(frozen=True)
class Group:
    """The images of a call that are sampled from the same prompt and the same other conditioning.

    Attributes:
        name: what its memory and its trace are kept under: the prompt, unless the context saw it with other conditioning first.
        prompt: whose modes are balanced.
        seeds: of the images; empty where the call does not name them.
        places: (n,) int64, of the images in the call.
        rule: how they are guided.
    """

    name: str
    prompt: str
    seeds: tuple[int, ...]
    places: Tensor
    rule: Rule


def groups_of(arguments: Mapping[str, Any]) -> list[str]:
    """Return the prompt of each image of a pipeline call; a hash where embeddings are given in its place.

    Args:
        arguments: the call's arguments by name, as diffusers names them.

    Example:
        >>> groups_of({"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2})
        ['a cat', 'a cat', 'a dog', 'a dog']
        >>> groups_of({"batch_size": 3})
        ['', '', '']
    """
    return _each_image(_prompts(arguments), arguments)


def conditions_of(arguments: Mapping[str, Any]) -> list[str]:
    """Return what each image of a pipeline call is sampled from beside its prompt, as JSON; embeddings by their hashes.

    Args:
        arguments: as in `groups_of`.

    Example:
        >>> conditions_of({"prompt": ["a cat", "a cat"], "negative_prompt": ["a dog", "a cow"]})
        ['{"negative_prompt": "a dog"}', '{"negative_prompt": "a cow"}']
        >>> conditions_of({"prompt": ["a cat", "a cat"]})
        ['{}', '{}']
    """
    prompts = len(_prompts(arguments))
    given = {name: arguments[name] for name in CONDITIONS if arguments.get(name) is not None}
    conditions = [{name: _of(value, i, prompts) for name, value in given.items()} for i in range(prompts)]
    return _each_image([json.dumps(it) for it in conditions], arguments)


def _prompts(arguments: Mapping[str, Any]) -> list[str]:
    prompt, embeddings = arguments.get("prompt"), arguments.get("prompt_embeds")
    if prompt is not None:
        return [prompt] if isinstance(prompt, str) else [str(text) for text in prompt]
    if embeddings is not None:
        return [EMBEDDED + _digest(row) for row in embeddings]
    return [""] * int(arguments.get("batch_size") or 1)


def _each_image(values: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
    return [value for value in values for _ in range(int(arguments.get("num_images_per_prompt") or 1))]


def _of(value: Any, place: int, prompts: int) -> str:
    """Return a conditioning's value for one of the prompts: its own where there is one for each, else that of all."""
    if isinstance(value, Tensor):
        return _digest(value[place] if len(value) == prompts else value)
    return str(value[place] if isinstance(value, list | tuple) and len(value) == prompts else value)


def _digest(row: Tensor) -> str:
    return hashlib.sha256(row.detach().float().cpu().numpy().tobytes()).hexdigest()[:16]
