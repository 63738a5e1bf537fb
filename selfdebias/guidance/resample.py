"""Resample: images are finished, their modes are told by the encoder, and more are drawn until the target is met."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfdebias.guidance.choosing import Cells, choose, counts_of
from selfdebias.guidance.selecting import Part
from selfdebias.guidance.selection import Selection


class Resample(Selection):
    """Chooses among finished images, by the modes of their embeddings, and draws more until the wanted numbers are there.

    Images are drawn in rounds, at most as many in one as the call asks for. With `steer` each round is guided: the first towards
    the target, the others towards what is still missing, which makes up for images that did not come to their modes.

    Args:
        limit, target, axes, steer: as in `Selection`.

    Raises:
        ValueError: if a value is out of range.
    """

    def draw(self, parts: Sequence[Part]) -> None:
        """See `Selection.draw`."""
        for part in parts:
            self._draw(part)

    def _draw(self, part: Part) -> None:
        need, outputs, drawn = part.need, [], 0
        seeds = part.seeds(int(self.limit * need.count))
        rows: list[tuple[int, int]] = []  # of each finished image, its round and its place there
        sizes = [len(pi) for pi in need.shares]
        cells: Cells = np.zeros((0, len(sizes)), dtype=np.int64)
        chosen: list[int] = []
        number = need.count
        while number:
            own = seeds[drawn : drawn + number]
            missing = [counts - have for counts, have in zip(need.counts, counts_of(cells[chosen], sizes), strict=True)]
            outputs.append(part.steer(own, missing) if self.steer else part.draw(own))
            found = part.cells(outputs[-1])
            if not self.steer:
                need.see(found)
            cells, drawn = np.concatenate([cells, found]), drawn + len(own)
            rows += [(len(outputs) - 1, place) for place in range(len(own))]
            chosen = choose(cells, need.counts, need.count, within=True)
            number = min(
                need.still(counts_of(cells[chosen], sizes), self.steer is not None), need.count, len(seeds) - drawn
            )
        chosen = choose(cells, need.counts, need.count)
        for place, output in enumerate(outputs):
            mine = [i for i in chosen if rows[i][0] == place]
            part.deliver([seeds[i] for i in mine], output, [rows[i][1] for i in mine], edited=self.steer is not None)
        got = counts_of(cells[chosen], sizes)
        need.book(got, got)
