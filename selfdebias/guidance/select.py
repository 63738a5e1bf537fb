"""Select: seeds are drawn until their modes can be told, and those go on that meet the target. No image is edited."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from torch import Tensor

from selfdebias.backbones.calling import Step, check_branches, normal_tensors, split_branches
from selfdebias.backbones.hspace import BottleneckHook
from selfdebias.backbones.rows import FewerRows, merged
from selfdebias.config.rules import number_in
from selfdebias.guidance.attachment import refuse_other_size
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.choosing import Cells, Rounds, choose, counts_of
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
    With `steer`, images that are lacking although the limit was reached are sampled anew from the call's own seeds, guided
    towards the missing sides. In jobs an encoder looks at the finished images: chosen ones that the projector told wrongly are
    lacking too, and steered ones that did not come to their side are drawn once more, from other of the seeds that were not
    delivered, until there are enough or none is left.

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

    @property
    def version(self) -> int:
        """See `Method`."""
        return super().version + (self.steer is not None)  # what a batch lacks is made up for once

    def draw(self, parts: Sequence[Part]) -> None:
        """See `Selection.draw`."""
        seeds = [part.seeds(part.need.expected(self.limit)) for part in parts]
        sides: dict[str, Cells] = {}

        def chosen_of(part: Part, cells: Cells) -> list[int]:
            within = self.steer is not None and len(cells) >= int(self.limit * part.need.count)
            places = choose(cells, part.need.counts, part.need.count, within)
            sides[part.name] = cells[places]
            return places

        first = FirstSteps(parts, seeds, self.at, chosen_of)
        output, start = first.draw(), 0
        if not first.chosen:  # somebody interrupted the call before: what there is of its own seeds
            for part, own, start in zip(parts, seeds, first.starts, strict=False):
                part.deliver(own[: part.need.count], output, range(start, start + part.need.count))
            return
        for part, own, places in zip(parts, seeds, first.chosen, strict=True):
            rows: Sequence[int] = range(start, start + len(places))
            start += len(places)
            cells = sides[part.name]
            if self.steer and part.context.look and places:  # as finished images are, which the projector told before
                cells = part.cells(output)[list(rows)]
                right = choose(cells, part.need.counts, part.need.count, within=True)
                cells, places, rows = cells[right], [places[i] for i in right], [rows[i] for i in right]
            part.deliver([own[place] for place in places], output, rows)
            self._steer(part, cells, [seed for place, seed in enumerate(own) if place not in places])

    def _steer(self, part: Part, cells: Cells, others: Sequence[Seed]) -> None:
        """Draw what a part still lacks beside the delivered images, whose sides are (n, A), and book what it has then.

        Args:
            part: the images of one prompt.
            cells: the sides of the delivered ones.
            others: the seeds that were not delivered.
        """
        need = part.need
        got = counts_of(cells, [len(pi) for pi in need.shares])
        if n := need.count - len(cells):
            missing = [counts - have for counts, have in zip(need.counts, got, strict=True)]
            own = [seed for seed in part.seeds(need.count) if seed.place not in part.delivered]
            if part.context.look is None:
                part.deliver(own, part.steer(own, missing), range(n), edited=True)
                got = need.counts
            else:
                rounds, number = Rounds(part, [*own, *(it for it in others if it.spawned)], missing, n, True), n
                while number:
                    rounds.draw(number)
                    number = min(n - int(rounds.got[0].sum()), rounds.left)
                got = [have + more for have, more in zip(got, rounds.deliver(), strict=True)]
        part.book(got)


class FirstSteps:
    """Draws seeds as far as their modes can be told, and goes on with those that are chosen.

    In the same pipeline call: after the choice, its denoiser gets the rows of the chosen seeds alone.

    Args:
        parts: of the call.
        seeds: of each part.
        share: of the steps after which is chosen, in (0, 1].
        choose: gets a part and the sides of its seeds, (m, A), and returns the places of the chosen ones among them.

    Attributes:
        chosen: the places of the chosen seeds among those of each part.
    """

    def __init__(
        self, parts: Sequence[Part], seeds: Sequence[Sequence[Seed]], share: float, choose: Callable[[Part, Cells], list[int]]
    ):  # fmt: skip
        self.parts, self.share, self.choose = parts, share, choose
        self.seeds = [seed for own in seeds for seed in own]
        self.starts = [0, *np.cumsum([len(own) for own in seeds]).tolist()]
        self.chosen: list[list[int]] = []
        self._rows = FewerRows(parts[0].call.pipeline, len(self.seeds))

    def draw(self) -> Any:
        """Return the output of the chosen seeds, one part after the other; [] if none was chosen."""
        call, blocks = self.parts[0].call, self.parts[0].semantics.projector.blocks
        places, generators = zip(*((seed.place, seed.generator) for seed in self.seeds), strict=True)
        output: Any = []
        with (
            suppress(EnoughSteps), self._rows,
            BottleneckHook(call.pipeline, self._look, acts=self._acts, blocks=blocks),
        ):  # fmt: skip
            output = call.images(places, generators)
        if not output and hasattr(call.pipeline, "maybe_free_model_hooks"):
            call.pipeline.maybe_free_model_hooks()  # as a call of it does at its end, which this one did not come to
        return merged([output], [(0, place) for place in self._rows.kept]) if output and self._rows.kept else output

    def _acts(self, step: Step) -> bool:
        return step.index == max(0, round(self.share * step.count) - 1)

    def _look(self, h: Tensor, step: Step) -> None:
        """Tell the modes of all seeds, and choose among them."""
        if not self._acts(step) or self.chosen:
            return
        start = time.perf_counter()
        check_branches(h, step.branches, len(self.seeds))
        refuse_other_size(h, self.parts[0].semantics.projector)
        with normal_tensors():
            rows = split_branches(h.clone(), step.branches)["cond"]
            for part, first, end in zip(self.parts, self.starts, self.starts[1:], strict=False):
                cells = cells_at(rows[first:end], step.timestep, part.semantics, part.context.axes)
                part.need.see(cells)
                self.chosen.append(self.choose(part, cells))
        self.parts[0].context.state.seconds += time.perf_counter() - start
        self._rows.kept = [start + place for start, own in zip(self.starts, self.chosen, strict=False) for place in own]
        if not self._rows.kept:
            raise EnoughSteps
