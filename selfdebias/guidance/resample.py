"""Resample: images are finished, their modes are told by the encoder, and more are drawn until the target is met."""

from __future__ import annotations

from collections.abc import Sequence

from selfdebias.guidance.choosing import Rounds
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

    by_activations = False

    def draw(self, parts: Sequence[Part]) -> None:
        """See `Selection.draw`."""
        for part in parts:
            self._draw(part)

    def _draw(self, part: Part) -> None:
        need, steered = part.need, self.steer is not None
        rounds = Rounds(part, part.seeds(int(self.limit * need.count)), need.counts, need.count, steered)
        number = need.count
        while number:
            found = rounds.draw(number)
            if not steered:
                need.see(found)
            number = min(need.still(rounds.got, steered), need.count, rounds.left)
        got = rounds.deliver()
        need.book(got, got)
