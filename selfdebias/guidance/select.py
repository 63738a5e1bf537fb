"""Select: seeds are drawn until their modes can be told, and those go on that meet the target. No image is edited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from selfdebias.backbones.calling import Step, normal_tensors, split_branches
from selfdebias.backbones.hspace import BottleneckHook
from selfdebias.backbones.rows import goes_on_with_fewer
from selfdebias.config.rules import number_in
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.choosing import Cells, choose, counts_of
from selfdebias.guidance.selecting import Part, Seed
from selfdebias.guidance.selection import Selection, cells_at
from selfdebias.guidance.step_rule import require


class EnoughSteps(Exception):  # noqa: N818
    """Ends a pipeline call of which no more steps are wanted."""


class Select(Selection):
    """Chooses among more seeds by the projected mode of each after a part of the steps, and goes on with the chosen ones.

    How many seeds are drawn follows from the shares of the modes among those of earlier calls, at most `limit` for each image;
    in the first call it is twice as many as images, as far as the limit allows. Sides that lack images are made up for in later
    calls of the prompt, in jobs by the embeddings of the finished images, which also mends what the projector tells wrongly.
    With `steer`, images that are lacking although the limit was reached are drawn anew from the call's own seeds, guided
    towards the missing sides.

    Args:
        at: after which share of the steps is chosen, in (0, 1].
        limit, target, axes, steer: as in `Selection`.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(
        self, at: float, limit: float, target: Sequence[float] | str | None = None, axes: Sequence[int] | None = None,
        steer: Guidance | None = None,
    ):  # fmt: skip
        super().__init__(limit, target, axes, steer)
        require(number_in(0, 1, "(]"), at=at)
        self.at = at

    def draw(self, parts: Sequence[Part]) -> None:
        """See `Selection.draw`."""
        seeds = [part.seeds(part.need.expected(self.limit)) for part in parts]
        sides: dict[str, Cells] = {}

        def chosen_of(part: Part, cells: Cells) -> list[int]:
            within = self.steer is not None and len(cells) >= int(self.limit * part.need.count)
            places = choose(cells, part.need.counts, part.need.count, within)
            sides[part.name] = cells[places]
            return places

        output, chosen = drawn_so_far(parts, seeds, self.at, chosen_of)
        starts = np.cumsum([0, *map(len, chosen)])
        for part, own, places, start in zip(parts, seeds, chosen, starts, strict=False):
            part.deliver([own[place] for place in places], output, range(start, start + len(places)))
            self._steer(part, sides[part.name])

    def _steer(self, part: Part, cells: Cells) -> None:
        """Draw what a part still lacks beside the chosen images, whose sides are (n, A), and book what it has then."""
        need = part.need
        got = counts_of(cells, [len(pi) for pi in need.shares])
        if left := [place for place in part.places if place not in part.delivered]:
            missing = [counts - have for counts, have in zip(need.counts, got, strict=True)]
            seeds = [seed for seed in part.seeds(need.count) if seed.place in left]
            part.deliver(seeds, part.steer(seeds, missing), range(len(seeds)), edited=True)
            got = need.counts
        part.book(got)


def drawn_so_far(
    parts: Sequence[Part], seeds: Sequence[Sequence[Seed]], share: float, choose: Callable[[Part, Cells], list[int]]
) -> tuple[Any, list[list[int]]]:
    """Draw seeds as far as their modes can be told, and go on with those that are chosen.

    Where the pipeline's callback allows it, the call goes on with fewer rows; else the chosen seeds are drawn anew.

    Args:
        parts: of the call.
        seeds: of each part.
        share: of the steps after which is chosen, in (0, 1].
        choose: gets a part and the sides of its seeds, (m, A), and returns the places of the chosen ones among them.

    Returns:
        The output of the chosen seeds, one part after the other, and the places of those of each part.
    """
    pipeline, call = parts[0].call.pipeline, parts[0].call
    all_seeds = [seed for own in seeds for seed in own]
    starts = np.cumsum([0, *map(len, seeds)])
    chosen: list[list[int]] = []
    asked = False

    def at(step: Step) -> int:
        return max(0, round(share * step.count) - 1)

    def look(h: Tensor, step: Step) -> None:
        if step.index != at(step) or chosen:
            return
        with normal_tensors():
            rows = split_branches(h.clone(), step.branches)["cond"]
            for part, start, end in zip(parts, starts, starts[1:], strict=False):
                cells = cells_at(rows[start:end], step.timestep, part.semantics, part.context.axes)
                part.need.see(cells)
                chosen.append(choose(part, cells))
        if not goes_on:
            raise EnoughSteps

    def places() -> list[int]:
        return [int(start) + place for start, own in zip(starts, chosen, strict=False) for place in own]

    def kept() -> list[int] | None:
        nonlocal asked
        first, asked = bool(chosen) and not asked, asked or bool(chosen)
        return places() if first else None

    goes_on = goes_on_with_fewer(pipeline)
    drawn = [seed.place for seed in all_seeds], [seed.generator for seed in all_seeds]
    with BottleneckHook(pipeline, look, acts=lambda step: step.index == at(step)):
        try:
            output = call.images(*drawn, kept if goes_on else None)
        except EnoughSteps:
            output = None
    if output is None:
        own = [all_seeds[place] for place in places()]
        output = call.images([seed.place for seed in own], [seed.generator for seed in own])
    return output, chosen
