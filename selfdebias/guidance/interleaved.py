"""The official code's split of the branches: the reproduction of a fault, to measure what it costs. For nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from selfdebias.backbones.hspace import Step
from selfdebias.guidance.branch_rule import EACH
from selfdebias.guidance.gradient_descent import GradientDescentGuidance


class InterleavedGuidance(GradientDescentGuidance):
    """`GradientDescentGuidance` that counts even rows as unconditional ones and odd rows as conditional ones.

    Diffusers stacks ``[uncond; cond]`` in two halves, so with more than one image half of the rows are held against the centroids
    of the other branch, and are counted in its mean. Every row keeps its own gradient. Without classifier-free guidance there is
    nothing to split.

    Args:
        eta, temperature, limit, inner_steps, target, extrapolation_scale, axes: as in `GradientDescentGuidance`.
        branch: ``each``; the split is one of two branches that are edited each by itself.

    Raises:
        ValueError: if a value is out of range.

    References:
        The authors' code of arXiv 2512.03749, ``0::2`` and ``1::2``.
    """

    splits = False  # which branch a row is counted as depends on how many there are

    def __init__(
        self, eta: float, temperature: float | str, branch: str = EACH, limit: float | None = None, inner_steps: int = 1,
        target: Sequence[float] | str | None = None, extrapolation_scale: float = 1.0, axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(eta, temperature, branch, limit, inner_steps, target, extrapolation_scale, axes)
        if branch != EACH:
            raise ValueError(f"`guidance.branch` must be {EACH} for interleaved rows, got {branch!r}.")

    def rows(self, step: Step, count: int) -> Mapping[str, Tensor]:
        """See `GradientDescentGuidance.rows`."""
        if step.branches == ("cond",):
            return super().rows(step, count)
        return {"uncond": torch.arange(0, count, 2), "cond": torch.arange(1, count, 2)}
