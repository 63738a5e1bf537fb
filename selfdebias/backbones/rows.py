"""The rows of a pipeline call: how many the denoiser evaluates, a call for other images, and one that leaves some of them out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Self

import numpy as np
import torch
from torch import Generator, Tensor, nn

from selfdebias.backbones.calling import with_rows
from selfdebias.backbones.denoisers import find_denoiser

BY_PROMPT = ("prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3")
OF_THE_IMAGES = (
    "latents", "prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds", "image",
    "mask_image", "control_image", "ip_adapter_image", "ip_adapter_image_embeds", "image_embeds", "class_labels",
)  # fmt: skip


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


class FewerRows:
    """Context manager in which a pipeline's denoiser is given the rows of some images of its call alone.

    So is the decoder of its VAE, unless that takes one image at a time or is compiled: then it decodes all. The pipeline itself
    keeps a row for each image, as its scheduler and a callback of the call expect. Rows that were left out hold copies of the
    output of the first kept image: do not use them.

    Args:
        pipeline: that is called in this thread.
        images: how many the call is for.

    Attributes:
        kept: places of the images that are computed from now on; None for all of them.
    """

    def __init__(self, pipeline: Any, images: int) -> None:
        self._denoiser, self.images = find_denoiser(pipeline), images
        self._modules = [self._denoiser.module, *_decoders(getattr(pipeline, "vae", None))]
        self.kept: Sequence[int] | None = None
        self._whole = 0  # rows of the module's call that runs, where some of them are left out

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        self._handles = [it.register_forward_pre_hook(self._leave_out, with_kwargs=True) for it in self._modules]
        self._handles += [it.register_forward_hook(self._fill_in) for it in self._modules]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _leave_out(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if threading.get_ident() != self._thread:
            return None  # it runs for another pipeline
        given = {**dict(zip(self._denoiser.positional, args, strict=False)), **kwargs}
        rows = self._denoiser.rows(given) if module is self._denoiser.module else len(args[0])
        self._whole = 0
        if self.kept is None or rows % self.images:
            return None
        self._whole = rows
        places = [first + place for first in range(0, rows, self.images) for place in self.kept]
        return with_rows(args, rows, lambda it: it[places]), with_rows(kwargs, rows, lambda it: it[places])

    def _fill_in(self, module: nn.Module, args: tuple, output: Any) -> Any:
        if threading.get_ident() != self._thread or not self._whole or self.kept is None:
            return None
        at = {place: i for i, place in enumerate(self.kept)}
        of_each = [at.get(place, 0) for place in range(self.images)]
        computed = len(self.kept) * self._whole // self.images
        rows = [first + i for first in range(0, computed, len(self.kept)) for i in of_each]
        if isinstance(output, Tensor):
            return output[rows]
        if type(output) is tuple:
            return tuple(it[rows] for it in output)
        return type(output)(**{name: it[rows] for name, it in output.items()})


def _decoders(vae: Any) -> list[nn.Module]:
    """The decoder of a VAE, where hooks can be put on it: compiled code would not run them, or would be traced with them."""
    decoder = getattr(vae, "decoder", None)
    compiled = getattr(decoder, "_compiled_call_impl", None) is not None or "decode" in getattr(vae, "__dict__", {})
    return [decoder] if isinstance(decoder, nn.Module) and not compiled else []


@dataclass
class Call:
    """A pipeline call whose images may be asked for one by one.

    Attributes:
        pipeline: that is called.
        arguments: of the call, by name, defaults included.
        given: its generators, one for each image; each is advanced as the pipeline does it when its own image is drawn.
        generators: copies of them, as they were before the call.
        interrupted: whether somebody has asked the pipeline to leave out steps of one of the calls that were made of it.
    """

    pipeline: Any
    arguments: Mapping[str, Any]
    given: tuple[Generator, ...]
    generators: tuple[Generator, ...]
    interrupted: bool = False

    @classmethod
    def of(cls, pipeline: Any, arguments: Mapping[str, Any], images: int) -> Self:
        """Take a call apart.

        Args:
            pipeline, arguments: as in the attributes.
            images: number of images that the call asks for.

        Raises:
            ValueError: if the images do not have a generator of their own each, or are made from more than text.
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
        if len({id(it) for it in given}) < images:
            raise ValueError(
                "`generator` must list a different one for each image where seeds are chosen, got one twice."
            )
        return cls(pipeline, arguments, tuple(given), tuple(copied(it) for it in given))

    def images(self, places: Sequence[int], generators: Sequence[Generator]) -> Any:
        """Call the pipeline for other images.

        Args:
            places: of the image of the call whose text each one has.
            generators: one for each of them; they are copied.
        """
        each = int(self.arguments.get("num_images_per_prompt") or 1)
        prompt = self.arguments.get("prompt")
        prompts = 1 if isinstance(prompt, str) else len(prompt or ())
        drawn = [copied(it) for it in generators]
        own = {**self.arguments, "generator": drawn}
        lists = [name for name in BY_PROMPT if isinstance(own.get(name), list | tuple) and len(own[name]) == prompts]
        own |= {name: [own[name]] * len(places) for name in BY_PROMPT if isinstance(own.get(name), str)}
        own |= {name: [own[name][place // each] for place in places] for name in lists}
        own |= {
            name: value for name, value in (("num_images_per_prompt", 1), ("batch_size", len(places))) if name in own
        }
        output = self.pipeline(**{**own, **own.pop("kwargs", {})})
        self.interrupted |= bool(getattr(self.pipeline, "interrupt", False))
        for place, before, after in zip(places, generators, drawn, strict=True):
            if before is self.generators[place]:
                self.given[place].set_state(after.get_state())
        return output


def copied(generator: Generator) -> Generator:
    """Return a generator that draws what another one is about to draw."""
    other = Generator(generator.device)
    other.set_state(generator.get_state())
    return other


def further(generator: Generator, count: int) -> list[Generator]:
    """Return `count` generators with seeds of their own, spawned from the seed of another one, and its state if it was used."""
    seed, state = generator.initial_seed(), generator.get_state()
    used = not state.equal(Generator(generator.device).manual_seed(seed).get_state())
    sequence = np.random.SeedSequence([seed, *sha256(state.numpy().tobytes()).digest()] if used else seed)
    seeds = (int(it.generate_state(1, np.uint64)[0] >> 1) for it in sequence.spawn(count))
    return [Generator(generator.device).manual_seed(seed) for seed in seeds]


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
