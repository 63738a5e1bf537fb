"""The choices that the metrics leave open, as one object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricSuite:
    """Fixed choices of the quality metrics and of the intervals.

    Args:
        nearest: k of k-NN precision; 3 in Kynkaanniemi et al.
        kid_degree: degree of the polynomial kernel of KID; 3 as published.
        kid_gamma: factor of the inner product in that kernel; 1.0 suits unit vectors. For Inception features take
            1 / d, as published.
        kid_coef: constant of that kernel; 1.0 as published.
        level: coverage of the intervals, in (0, 1).

    Raises:
        ValueError: if a value is out of its range.

    References:
        arXiv 1904.06991 (k-NN precision), arXiv 1801.01401 (KID).
    """

    nearest: int = 3
    kid_degree: int = 3
    kid_gamma: float = 1.0
    kid_coef: float = 1.0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.nearest < 1:
            raise ValueError(f"`nearest` must be at least 1, got {self.nearest}.")
        if self.kid_degree < 1:
            raise ValueError(f"`kid_degree` must be at least 1, got {self.kid_degree}.")
        if self.kid_gamma <= 0:
            raise ValueError(f"`kid_gamma` must be above 0, got {self.kid_gamma}.")
        if not 0 < self.level < 1:
            raise ValueError(f"`level` must be between 0 and 1, got {self.level}.")
