"""Where in the sampling loop a UNet call stands, and how its batch is stacked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Step:
    """Where in the sampling loop a UNet call stands.

    Attributes:
        timestep: the training timestep that the UNet is given.
        index: UNet calls since the start of the pipeline call, from 0.
        count: UNet calls that the pipeline plans (`num_timesteps`).
        branches: how the batch is stacked: ``("cond",)``, or ``("uncond", "cond")`` in two contiguous halves.
        guidance_scale: classifier-free guidance scale; 1.0 where the pipeline has none, and the scale of the extrapolation
            where that takes its place.
        weight: what the guidance schedule gives this step, in [0, 1].
        stop: where the guidance schedule ends, as a fraction of the steps, in (0, 1].
        alpha_bar: the share of signal in the variance of `x_t`, in [0, 1]; NaN where the scheduler states none.
    """

    timestep: float
    index: int
    count: int
    branches: tuple[str, ...]
    guidance_scale: float
    weight: float = 1.0
    stop: float = 1.0
    alpha_bar: float = math.nan


def planned_steps(start: int, count: int) -> Iterator[Step]:
    """Yield the steps from `start` on of a pass that plans `count`, as far as they are known before they are reached."""
    for index in range(start, count):
        yield Step(math.nan, index, count, (), 1.0, alpha_bar=0.5)


def split_branches(h: Tensor, branches: tuple[str, ...]) -> dict[str, Tensor]:
    """Split a stacked batch into its branches.

    Diffusers stacks them as contiguous halves, ``[uncond; cond]``.

    Args:
        h: (branches x B, ...) any dtype.
        branches: names in stacking order.

    Returns:
        By branch, views of shape (B, ...).

    Example:
        >>> import torch
        >>> split_branches(torch.arange(4), ("uncond", "cond"))["cond"]
        tensor([2, 3])
    """
    return dict(zip(branches, h.chunk(len(branches)), strict=True))


def alpha_bar_of(scheduler: Any, timestep: float) -> float:
    """Return `alpha_bar` at a training timestep, linear between whole ones; NaN where the scheduler states none."""
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return math.nan
    low = min(max(int(timestep), 0), len(alphas) - 1)
    high = min(low + 1, len(alphas) - 1)
    return float(alphas[low]) + (timestep - int(timestep)) * float(alphas[high] - alphas[low])
