"""The rows of a pipeline call: how many the denoiser evaluates, a call for other images, and one that goes on with fewer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Generator, Tensor

from selfdebias.backbones.denoisers import find_denoiser

BY_PROMPT = ("prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3")
OF_THE_IMAGES = (
    "latents", "prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds", "image",
    "mask_image", "control_image", "ip_adapter_image", "ip_adapter_image_embeds",
)  # fmt: skip
WITH_ROWS = (
    "latents",
    "prompt_embeds",
    "pooled_prompt_embeds",
    "add_text_embeds",
    "add_time_ids",
)  # of `_callback_tensor_inputs`
OF_THE_TEXT = {  # by argument of a call, the callback's inputs that replace what comes of it
    "pooled_prompt_embeds": {"pooled_prompt_embeds", "add_text_embeds"},
    "prompt_attention_mask": {"prompt_attention_mask"},
}
CALLBACK, INPUTS = "callback_on_step_end", "callback_on_step_end_tensor_inputs"


class RowCount:
    """Context manager that counts the rows that a pipeline's denoiser evaluates: both halves of classifier-free guidance count.

    Attributes:
        rows: so far.
    """

    def __init__(self, pipeline: Any) -> None:
        self._first = find_denoiser(pipeline).entry
        self.rows = 0

    def __enter__(self) -> Self:
        self._handle = self._first.register_forward_pre_hook(self._count)
        return self

    def __exit__(self, *exception: object) -> None:
        self._handle.remove()

    def _count(self, module: Any, args: tuple[Tensor, ...]) -> None:
        self.rows += len(args[0])


@dataclass(frozen=True)
class Call:
    """A pipeline call whose images may be asked for one by one.

    Attributes:
        pipeline: that is called.
        arguments: of the call, by name, defaults included.
        generators: one for each image, as they were before the call.
    """

    pipeline: Any
    arguments: Mapping[str, Any]
    generators: tuple[Generator, ...]

    @classmethod
    def of(cls, pipeline: Any, arguments: Mapping[str, Any], images: int) -> Self:
        """Take a call apart.

        Args:
            pipeline, arguments: as in the attributes.
            images: number of images that the call asks for.

        Raises:
            ValueError: if the images do not have a generator each, or are made from more than text.
        """
        for name in OF_THE_IMAGES:
            if arguments.get(name) is not None:
                raise ValueError(
                    f"`{name}` must be left out where seeds are chosen: further images are drawn from text alone."
                )
        given = arguments.get("generator")
        if not isinstance(given, Sequence) or len(given) != images:
            got = len(given) if isinstance(given, Sequence) else "none" if given is None else "one for all"
            raise ValueError(
                f"`generator` must be a list of {images}, one for each image, where seeds are chosen, got {got}: "
                f"SelfDebias.generators(seeds) makes them."
            )
        return cls(pipeline, arguments, tuple(copied(it) for it in given))

    def images(
        self, places: Sequence[int], generators: Sequence[Generator], kept: Callable[[], Sequence[int] | None] | None = None
    ) -> Any:  # fmt: skip
        """Call the pipeline for other images.

        Args:
            places: of the image of the call whose text each one has.
            generators: one for each of them; they are copied.
            kept: asked after each step; from the first on after which it gives places, the call goes on with those images alone.
                Only where `goes_on_with_fewer` says so.
        """
        each = int(self.arguments.get("num_images_per_prompt") or 1)
        prompt = self.arguments.get("prompt")
        own = {**self.arguments, "generator": [copied(it) for it in generators]}
        own |= {name: [own[name]] * len(places) for name in BY_PROMPT if isinstance(own.get(name), str)}
        if prompt is not None and not isinstance(prompt, str):
            lists = [
                name for name in BY_PROMPT if isinstance(own.get(name), list | tuple) and len(own[name]) == len(prompt)
            ]
            own |= {name: [own[name][place // each] for place in places] for name in lists}
        own |= {
            name: value for name, value in (("num_images_per_prompt", 1), ("batch_size", len(places))) if name in own
        }
        if kept:
            own |= going_on(self.pipeline, own, kept)
        return self.pipeline(**{**own, **own.pop("kwargs", {})})


def copied(generator: Generator) -> Generator:
    """Return a generator that draws what another one is about to draw."""
    other = Generator(generator.device)
    other.set_state(generator.get_state())
    return other


def further(generator: Generator, count: int) -> list[Generator]:
    """Return `count` generators with seeds of their own, spawned from the seed of another one."""
    sequence = np.random.SeedSequence(generator.initial_seed())
    seeds = (int(it.generate_state(1, np.uint64)[0] >> 1) for it in sequence.spawn(count))
    return [Generator(generator.device).manual_seed(seed) for seed in seeds]


def goes_on_with_fewer(pipeline: Any) -> bool:
    """Whether a call of the pipeline can go on with some of its rows: its callback may replace all that has a row for each image.

    That of Flux and Sana may not replace the pooled text, or the text's mask. A UNet that is told the guidance scale gets that in
    rows that no callback sees, and a scheduler with a Brownian tree draws noise for all rows at once.
    """
    inputs = {*getattr(pipeline, "_callback_tensor_inputs", ())}
    taken = inspect.signature(type(pipeline).__call__).parameters
    if any(name in taken and not inputs & replaced for name, replaced in OF_THE_TEXT.items()):
        return False
    told = getattr(find_denoiser(pipeline).module.config, "time_cond_proj_dim", None) is not None
    return {"latents", "prompt_embeds"} <= inputs and not told and not hasattr(pipeline.scheduler, "noise_sampler")


def going_on(
    pipeline: Any, arguments: Mapping[str, Any], kept: Callable[[], Sequence[int] | None]
) -> dict[str, Any]:  # fmt: skip
    """Return the callback, as arguments of a call, that lets the call go on with some of its rows.

    Args:
        pipeline: as `goes_on_with_fewer` wants it.
        arguments: of the call; its own callback is called first and sees all rows up to there, and its list of generators is cut
            in place.
        kept: as in `Call.images`.
    """
    own, generators = arguments.get(CALLBACK), arguments["generator"]
    asked = list(getattr(own, "tensor_inputs", None) or arguments.get(INPUTS) or ["latents"])
    more = [name for name in WITH_ROWS if name in pipeline._callback_tensor_inputs and name not in asked]

    def on_step_end(pipe: Any, index: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Let the call's own callback act, and leave out rows once `kept` says which stay; as diffusers calls it."""
        changed = own(pipe, index, timestep, {name: tensors[name] for name in asked}) if own else {}
        now, places = {**tensors, **changed}, kept()
        if places is None or len(places) == len(generators):
            return dict(changed)
        shape = now["latents"].shape
        for name, value in vars(pipe.scheduler).items():
            setattr(pipe.scheduler, name, _like_latents(value, shape, places))
        generators[:] = [generators[place] for place in places]
        return {name: _rows(value, shape[0], places) for name, value in now.items()}

    return {CALLBACK: on_step_end, INPUTS: [*asked, *more]}


def _rows(value: Tensor, rows: int, kept: Sequence[int]) -> Tensor:
    """Keep rows of a tensor that has one for each image, in each half of classifier-free guidance."""
    return torch.cat([half[list(kept)] for half in value.split(rows)])


def _like_latents(value: Any, shape: torch.Size, kept: Sequence[int]) -> Any:
    """Keep rows of what a scheduler has stored of earlier steps: tensors of the latents' shape, alone or in a list."""
    if isinstance(value, Tensor):
        return value[list(kept)] if value.shape == shape else value
    if isinstance(value, list):
        value[:] = [_like_latents(item, shape, kept) for item in value]
    return value


def merged(outputs: Sequence[Any], places: Sequence[tuple[int, int]]) -> Any:
    """Return the outputs of several calls as one.

    Args:
        outputs: of pipeline calls with the same options.
        places: of each image, the call and its place there.

    Returns:
        Of the kind of the first output: lists, arrays and tensors of all images.
    """
    first = outputs[0]
    if type(first) is tuple:
        return tuple(_field(values, places) for values in zip(*outputs, strict=True))
    return replace(first, **{name: _field([it[name] for it in outputs], places) for name in first})


def _field(values: Sequence[Any], places: Sequence[tuple[int, int]]) -> Any:
    """As `merged`, for one field of the outputs; what is no list, array or tensor stays as it is in the first."""
    if not isinstance(values[0], list | Tensor | np.ndarray):
        return values[0]
    rows = [values[call][place] for call, place in places]
    return (
        rows if isinstance(values[0], list) else torch.stack(rows) if isinstance(values[0], Tensor) else np.stack(rows)
    )
