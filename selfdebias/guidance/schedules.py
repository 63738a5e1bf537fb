"""When guidance acts, and how strongly: the only place that decides it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from selfdebias.backbones.calling import alpha_bar_of


@dataclass(frozen=True)
class GuidanceWindow:
    """Guidance at full weight while the step index lies in a window of the sampling loop; other schedules build on it.

    Args:
        start: first guided step, as a fraction in [0, 1] of the pipeline's number of steps.
        stop: end of the window, as a fraction in [0, 1], not itself guided; larger than `start`.

    Raises:
        ValueError: if start >= stop, or one is out of range.

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

    def weight(self, index: int, count: int, alpha_bar: float = math.nan) -> float:
        """Return the weight in [0, 1] of a step: 0 outside the window.

        Args:
            index: of the call, from 0.
            count: calls that the pipeline plans.
            alpha_bar: the share of signal in the variance of `x_t`, in [0, 1]; NaN where the scheduler states none.
        """
        place = index / count
        if not self.start <= place < self.stop:
            return 0.0
        return self.weight_inside((place - self.start) / (self.stop - self.start), alpha_bar)

    def weight_inside(self, place: float, alpha_bar: float) -> float:
        """Return the weight in [0, 1] inside the window.

        Args:
            place: 0 at the window's start, 1 at its end.
            alpha_bar: as in `weight`.
        """
        return 1.0

    def check(self, pipeline: Any) -> None:
        """Raise a ValueError for a pipeline that cannot say what the weights depend on."""


@dataclass(frozen=True)
class LinearSchedule(GuidanceWindow):
    """A weight that changes evenly over the window.

    Args:
        start, stop: the window, as in `GuidanceWindow`.
        first: weight at the window's start, in [0, 1].
        last: weight at its end, in [0, 1].

    Raises:
        ValueError: if a weight is out of range, or both are 0.

    Example:
        >>> [LinearSchedule(0.0, 1.0, first=1.0, last=0.0).weight(i, 4) for i in range(4)]
        [1.0, 0.75, 0.5, 0.25]
    """

    first: float = 1.0
    last: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("first", self.first), ("last", self.last)):
            if not 0 <= value <= 1:
                raise ValueError(f"`schedule.{name}` must be a weight in [0, 1], got {value}.")
        if self.first == self.last == 0:
            raise ValueError("`schedule.first` or `schedule.last` must be larger than 0, got 0 and 0: guidance=none.")

    def weight_inside(self, place: float, alpha_bar: float) -> float:
        """See `GuidanceWindow.weight_inside`."""
        return self.first + (self.last - self.first) * place


@dataclass(frozen=True)
class CosineSchedule(LinearSchedule):
    """A weight that leaves its first value and comes to its last one gently, along half a cosine.

    Args:
        start, stop, first, last: as in `LinearSchedule`.

    Example:
        >>> [round(CosineSchedule(0.0, 1.0, first=1.0, last=0.0).weight(i, 4), 3) for i in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """

    def weight_inside(self, place: float, alpha_bar: float) -> float:
        """See `GuidanceWindow.weight_inside`."""
        return super().weight_inside((1 - math.cos(math.pi * place)) / 2, alpha_bar)


@dataclass(frozen=True)
class SignalToNoiseSchedule(GuidanceWindow):
    """A weight that grows with what can be seen of the image: ``min(1, snr / gamma)``, ``snr = alpha_bar / (1 - alpha_bar)``.

    Args:
        start, stop: the window, as in `GuidanceWindow`.
        gamma: signal-to-noise ratio from which on the weight is 1, > 0.

    Raises:
        ValueError: if `gamma` is out of range, or a pipeline's scheduler states no noise level.

    References:
        The clamp is that of min-SNR, arXiv 2303.09556.

    Example:
        >>> schedule = SignalToNoiseSchedule(0.0, 1.0, gamma=1.0)
        >>> [schedule.weight(0, 4, alpha_bar) for alpha_bar in (0.2, 0.5, 1.0)]
        [0.25, 1.0, 1.0]
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gamma < math.inf:
            raise ValueError(f"`schedule.gamma` must be finite and larger than 0, got {self.gamma}.")

    def weight_inside(self, place: float, alpha_bar: float) -> float:
        """See `GuidanceWindow.weight_inside`."""
        noise = 1 - alpha_bar
        return 1.0 if alpha_bar >= self.gamma * noise else alpha_bar / noise / self.gamma

    def check(self, pipeline: Any) -> None:
        """See `GuidanceWindow.check`."""
        if math.isnan(alpha_bar_of(pipeline.scheduler, 0.0)):
            raise ValueError(
                f"`pipeline.scheduler` must state its noise levels (`alphas_cumprod`) for this schedule, got "
                f"{type(pipeline.scheduler).__name__}, which does not: take schedule=default, linear or cosine."
            )
