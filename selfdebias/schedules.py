"""When guidance acts, and how strongly: the only place that decides it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuidanceWindow:
    """Guidance at full weight while the step index lies in a window of the sampling loop.

    Args:
        start: first guided step, as a fraction in [0, 1] of the pipeline's number of steps.
        stop: end of the window, as a fraction in [0, 1], not itself guided; larger than `start`.

    Raises:
        ValueError: if the two are no window.

    Example:
        >>> window = GuidanceWindow(start=0.0, stop=0.5)
        >>> [window.weight(i, 4) for i in range(4)]
        [1.0, 1.0, 0.0, 0.0]
    """

    start: float = 0.0
    stop: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("stop", self.stop)):
            if not 0 <= value <= 1:
                raise ValueError(f"`schedule.{name}` must be a fraction in [0, 1], got {value}.")
        if self.start >= self.stop:
            raise ValueError(f"`schedule.stop` must be larger than `schedule.start`, {self.start}, got {self.stop}.")

    def weight(self, index: int, count: int) -> float:
        """Return the weight of the UNet call `index` of `count`: 1 inside the window, 0 outside."""
        return float(self.start <= index / count < self.stop)
