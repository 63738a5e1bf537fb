"""Selection on a pipeline: each of its calls draws more seeds than it is asked for, and returns the images that were chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Generator, Tensor

from selfdebias.backbones.denoisers import find_denoiser
from selfdebias.backbones.hooked import with_call
from selfdebias.backbones.hspace import MARK
from selfdebias.backbones.layouts import rule_of
from selfdebias.backbones.rows import Call, further, merged
from selfdebias.guidance.attachment import Attachment, Context, refuse_other_width
from selfdebias.guidance.base import NoGuidance, chosen_axes
from selfdebias.guidance.choosing import Cells, counts_of
from selfdebias.guidance.groups import conditions_of, groups_of
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.selection import Need, Selection, SelectionState, shares_of, wanting
from selfdebias.guidance.state import GuidanceState
from selfdebias.modes.semantics import AxesSemantics, Semantics

Look = Callable[
    [Tensor], Cells
]  # images (B, 3, H, W) in [0, 1] to the side of each axis, (B, A), or to the mode, (B, 1)


@dataclass(frozen=True)
class Seed:
    """One image that may be drawn.

    Attributes:
        place: of the image of the call whose text it has, and whose own seed it has where it is not `spawned`.
        generator: as it is before the image is drawn.
        spawned: whether the seed is a further one.
    """

    place: int
    generator: Generator
    spawned: bool = False


@dataclass
class Part:
    """The images of one prompt in a call.

    Attributes:
        context: that the call is made in.
        call: the pipeline's call.
        name: of the group, which its account is kept under.
        prompt: that the images are sampled from.
        places: of the images in the call.
        need: what they are to be.
        delivered: by place, the seed, the output that has its image, its row there, and whether it was edited.
    """

    context: Selecting
    call: Call
    name: str
    prompt: str
    places: list[int]
    need: Need
    delivered: dict[int, tuple[Seed, Any, int, bool]] = field(default_factory=dict)

    @property
    def semantics(self) -> Semantics | AxesSemantics:
        """Projector and bank for the prompt."""
        semantics = self.context.state.semantics
        assert semantics is not None
        return semantics.of_prompt(self.prompt)

    def seeds(self, count: int) -> list[Seed]:
        """Return the first `count` seeds: those of the call, then further ones, which take turns over its images."""
        own = [Seed(place, self.call.generators[place]) for place in self.places]
        rounds = -(-count // len(own)) - 1
        spawned = [further(seed.generator, rounds) for seed in own]
        more = [Seed(seed.place, spawned[i][r], True) for r in range(rounds) for i, seed in enumerate(own)]
        return [*own, *more][:count]

    def deliver(self, seeds: Sequence[Seed], output: Any, rows: Sequence[int], edited: bool = False) -> None:
        """Deliver images: own seeds at their places, the others where a place is left.

        Args:
            seeds: of the images.
            output: of the pipeline call that drew them.
            rows: where each of them is there.
            edited: whether they were.
        """
        given = list(zip(seeds, rows, strict=True))
        for seed, row in (it for it in given if not it[0].spawned):
            self.delivered[seed.place] = (seed, output, row, edited)
        left = (place for place in self.places if place not in self.delivered)
        for (seed, row), place in zip([it for it in given if it[0].spawned], list(left), strict=False):
            self.delivered[place] = (seed, output, row, edited)

    def draw(self, seeds: Sequence[Seed]) -> Any:
        """Return what the pipeline gives for these seeds, without an edit."""
        return self.call.images([seed.place for seed in seeds], [seed.generator for seed in seeds])

    def steer(self, seeds: Sequence[Seed], missing: Sequence[Tensor]) -> Any:
        """Return what the pipeline gives for these seeds, guided towards the missing numbers of the sides, (K,) of each axis."""
        shares = [counts.double() / counts.sum() for counts in missing]
        state = GuidanceState(wanting(self.semantics, shares, self.context.axes))
        guidance = self.context.steer
        with Attachment(self.call.pipeline, guidance, self.context.schedule, state):
            output = self.draw(seeds)
        self.context.state.seconds += state.seconds
        self.context.state.traces[self.name].skipped += sum(it.skipped for it in state.traces.values())
        return output

    def book(self, planned: Sequence[Tensor]) -> None:
        """Carry over what the delivered images lack: counted by their embeddings where these can be looked at, else as planned.

        Args:
            planned: of each axis, (K,) images that are taken for being on each side.
        """
        if self.context.look is None:
            self.need.book(planned, planned)
            return
        outputs = {id(output): output for _, output, _, _ in self.delivered.values()}
        cells = {key: self.cells(output) for key, output in outputs.items()}
        ends = np.stack([cells[id(output)][row] for _, output, row, _ in self.delivered.values()])
        self.need.book(counts_of(ends, [len(counts) for counts in planned]), planned)

    def cells(self, output: Any) -> Cells:
        """Return the side of each axis that is balanced, (n, A), of finished images, in a context that can look at them."""
        assert self.context.look is not None
        images = output[0] if type(output) is tuple else output.images
        tensor = images if isinstance(images, Tensor) else torch.from_numpy(np.asarray(images)).movedim(-1, 1)
        return self.context.look(tensor.float().contiguous())[:, self.context.axes]


class Selecting(Context):
    """A context in which the calls of one pipeline return chosen images; outside of it the pipeline is what it was before.

    Args:
        pipeline: as for `Attachment`, unmodified; each call needs a list of generators, one for each image.
        selection: which seeds are delivered.
        schedule: when guidance acts, where images are steered too.
        state: memory and semantics.
        look: gives the modes of finished images, by which is counted what is owed; None counts by the projector.
        on_prompts: as in `Attachment`.

    Attributes:
        seeds: of the images that the last call returned; each draws its image again if its generator had not been used before.
        spawned: of each of them, whether its seed is a further one, which took the place of the call's own.
        edited: of each of them, whether it was steered.

    Raises:
        ValueError: if the pipeline cannot be guided, or not with these semantics.
    """

    def __init__(
        self, pipeline: Any, selection: Selection, schedule: GuidanceWindow, state: GuidanceState, look: Look | None = None,
        on_prompts: Callable[[Mapping[str, int]], None] | None = None,
    ):  # fmt: skip
        rule_of(pipeline)
        self.pipeline, self.selection, self.schedule, self.state, self.look = pipeline, selection, schedule, state, look
        semantics, self._on_prompts = state.semantics, on_prompts
        if hasattr(getattr(pipeline, "scheduler", None), "noise_sampler"):
            raise ValueError(
                f"`pipeline.scheduler` must take the noise of its steps from an image's generator, got "
                f"{type(pipeline.scheduler).__name__}, whose noise is one of the whole batch: choose another scheduler."
            )
        if not (look or selection.by_activations):
            raise ValueError(
                f"`guidance` must choose by activations here, got {type(selection).__name__}, which looks at finished images by an "
                f"encoder: it is for jobs; take guidance='select'."
            )
        if semantics:
            refuse_other_width(find_denoiser(pipeline), semantics.projector.shape)
        axes = isinstance(semantics, AxesSemantics)
        self.axes = chosen_axes(selection, len(semantics.axes)) if isinstance(semantics, AxesSemantics) else [0]
        self.steer = with_target_of_bank(selection.steer, self.axes if axes else None)
        self._plain: dict[str, str] = {}  # by prompt, the conditioning that was seen first, as `Attachment` has it
        self.seeds: list[int] = []
        self.spawned: list[bool] = []
        self.edited: list[bool] = []
        self._entered = False

    def __enter__(self) -> Self:
        self._entered = True
        self._class = type(self.pipeline)
        if hasattr(self._class, MARK):
            raise ValueError(
                f"`pipeline` must not be attached already, got {self._class.__name__} inside another context: leave that first."
            )
        self._own = self.pipeline.__class__ = with_call(self._class, MARK, self._draw)
        return self

    def __exit__(self, *exception: object) -> None:
        self.pipeline.__class__ = self._class

    def __repr__(self) -> str:
        chosen = f"{len(self.seeds)} images, {sum(self.spawned)} of further seeds, {sum(self.edited)} steered"
        return f"Selecting({type(self.selection).__name__}: {chosen} in the last call)"

    def _draw(self, call: Callable[[], Any], arguments: Mapping[str, Any]) -> Any:
        self.pipeline.__class__, whole = self._class, False  # what is drawn here is drawn by the pipeline itself
        self.state.begin("", ())
        try:
            parts = self._parts({name: value for name, value in arguments.items() if name != "self"})
            self.selection.draw(parts)
            if parts[0].call.interrupted:
                self.pipeline._interrupt = True  # which each pipeline call of these takes back
            whole = not parts[0].call.interrupted
        finally:
            self.pipeline.__class__ = self._own
            self.state.close(whole)
        delivered = {place: found for part in parts for place, found in part.delivered.items()}
        found = [delivered[place] for place in sorted(delivered)]
        outputs = list({id(output): output for _, output, _, _ in found}.values())
        at = {id(output): i for i, output in enumerate(outputs)}
        self.seeds = [seed.generator.initial_seed() for seed, _, _, _ in found]
        self.spawned = [seed.spawned for seed, *_ in found]
        self.edited = [edited for *_, edited in found]
        return merged(outputs, [(at[id(output)], row) for _, output, row, _ in found])

    def _parts(self, arguments: Mapping[str, Any]) -> list[Part]:
        sampled_from = list(zip(groups_of(arguments), conditions_of(arguments), strict=True))
        call = Call.of(self.pipeline, arguments, len(sampled_from))
        of_each = {own: [i for i, it in enumerate(sampled_from) if it == own] for own in sampled_from}
        if self._on_prompts:
            self._on_prompts({prompt: len(places) for (prompt, _), places in of_each.items()})
        parts = []
        for (prompt, condition), places in of_each.items():
            plain = self._plain.setdefault(prompt, condition) == condition
            name = prompt if plain else f"{prompt} {condition}"
            self.state.enter(name, (), prompt)
            semantics = self.state.semantics
            assert semantics is not None
            shares = shares_of(self.selection, semantics.of_prompt(prompt))
            account = self.state.of(SelectionState).account(name, [len(pi) for pi in shares])
            parts.append(Part(self, call, name, prompt, places, Need(shares, account, len(places))))
        return parts


def with_target_of_bank(guidance: Any, axes: Sequence[int] | None) -> Any:
    """Return a copy of a guidance whose target is the bank's, for these axes; `NoGuidance` for none."""
    if guidance is None:
        return NoGuidance()
    made = type(guidance)(**vars(guidance))
    made.target, made.axes = None, None if axes is None else list(axes)
    return made
