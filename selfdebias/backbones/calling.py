"""The call of a pipeline: where in it a denoiser call stands, uncompiled, outside inference mode, twice from one noise."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from selfdebias.backbones.denoisers import plain

OF_NO_ROW = ("img_ids", "txt_ids")  # arguments that hold for all rows
_set_aside: WeakKeyDictionary[Any, tuple[int, Any]] = WeakKeyDictionary()  # by module: its calls, and its compiled call
_lock = threading.Lock()


@dataclass(frozen=True)
class Step:
    """Where in the sampling loop a denoiser call stands.

    Attributes:
        timestep: the training timestep that the denoiser is given.
        index: denoiser calls since the start of the pipeline call, from 0.
        count: denoiser calls that the pipeline plans (`num_timesteps`).
        branches: how the batch is stacked: ``("cond",)``, or ``("uncond", "cond")`` in two contiguous halves.
        guidance_scale: classifier-free guidance scale; 1.0 where the pipeline has none, and the scale of the extrapolation
            where that takes its place.
        weight: what the guidance schedule gives this step, in [0, 1].
        stop: where the guidance schedule ends, as a fraction of the steps, in (0, 1].
        alpha_bar: the share of signal in the variance of `x_t`, in [0, 1]; NaN where the scheduler states none.
        block: of a transformer, after which `h_t` stands; None in a UNet.
        site: which of the blocks that is at this step, from 0.
        sites: after how many blocks `h_t` is seen at each step.
        doubled: whether the rows of ``uncond`` are the conditional ones once more, without an edit: where a prediction is
            extrapolated in place of classifier-free guidance.
    """

    timestep: float
    index: int
    count: int
    branches: tuple[str, ...]
    guidance_scale: float
    weight: float = 1.0
    stop: float = 1.0
    alpha_bar: float = math.nan
    block: int | None = None
    site: int = 0
    sites: int = 1
    doubled: bool = False

    @property
    def visit(self) -> int:
        """How many edits of the pipeline call come before this one: the index, where `h_t` is edited after one block."""
        return self.index * self.sites + self.site

    def fitted_as(self, branch: str, known: Sequence[str]) -> str:
        """Return the branch whose moments and centroids hold for rows of a branch, of those that were fitted."""
        return "cond" if self.doubled or branch not in known else branch


def planned_steps(start: int, count: int) -> Iterator[Step]:
    """Yield the steps from `start` on of a pass that plans `count`, as far as they are known before they are reached."""
    for index in range(start, count):
        yield Step(math.nan, index, count, (), 1.0, alpha_bar=0.5)


def refuse_extra_run(index: int, count: int, denoiser: str) -> None:
    """Refuse a call that runs its denoiser more often than it has steps, whose runs would be taken for other steps.

    Raises:
        RuntimeError: if the run with this index, from 0, is one too many.
    """
    if index >= count:
        raise RuntimeError(
            f"`pipeline.{denoiser}` must run once at each of the {count} steps, got a call in which it runs more often: pipelines "
            f"that run it several times at a step cannot be guided."
        )


def check_branches(h: Tensor, branches: Sequence[str], images: int) -> None:
    """Refuse a stacked batch (B', ...) that is not of these branches, each with so many images.

    Raises:
        ValueError: if it has another number of rows.
    """
    if len(h) != len(branches) * images:
        raise ValueError(
            f"`pipeline` must stack {len(branches)} branches of {images} images in its denoiser's batch, got {len(h)} rows: "
            f"pipelines that add branches of their own cannot be guided."
        )


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
    """Return `alpha_bar` at a training timestep, linear between whole ones; NaN where the scheduler states none.

    Flow matching has ``x_t = (1 - s) x_0 + s noise``, so that it is ``(1 - s)^2 / ((1 - s)^2 + s^2)``.
    """
    alphas, config = getattr(scheduler, "alphas_cumprod", None), getattr(scheduler, "config", {})
    if type(scheduler).__name__.startswith("FlowMatch") or config.get("use_flow_sigmas"):
        s = timestep / config["num_train_timesteps"]
        return (1 - s) ** 2 / ((1 - s) ** 2 + s**2)
    if alphas is None:
        return math.nan
    low = min(max(int(timestep), 0), len(alphas) - 1)
    high = min(low + 1, len(alphas) - 1)
    return float(alphas[low]) + (timestep - int(timestep)) * float(alphas[high] - alphas[low])


@contextmanager
def normal_tensors() -> Iterator[None]:
    """Make normal tensors, without a gradient, also where the caller is in `torch.inference_mode`.

    Tensors of inference mode cannot take part in a gradient later on, and `torch.enable_grad` does not lift that mode.

    Example:
        >>> with torch.inference_mode():
        ...     with normal_tensors(), torch.enable_grad():
        ...         x = torch.ones(2, requires_grad=True)
        ...         (gradient,) = torch.autograd.grad(x.square().sum(), x)
        >>> gradient
        tensor([2., 2.])
    """
    with torch.inference_mode(False), torch.no_grad():  # leaving inference mode alone turns gradients on
        yield


@contextmanager
def uncompiled(pipeline: Any, name: str, parts: Iterable[Any]) -> Iterator[None]:
    """Let a pipeline run its denoiser uncompiled; afterwards it is compiled as it was, and nothing has to be traced anew.

    Compiled code neither runs hooks that were added later nor forgets those that it was traced with, as torch guards no hooks.
    To throw all compiled code away (`torch.compiler.reset`) would cost minutes for each context, and refuse `fullgraph=True`.

    Args:
        pipeline: of diffusers.
        name: of the attribute that holds the denoiser.
        parts: of the denoiser that have hooks.

    Raises:
        ValueError: if the denoiser was offloaded by accelerate after `torch.compile` wrapped it: uncompiled, it would stay where
            it is.
    """
    wrapped = getattr(pipeline, name)
    module = plain(wrapped)
    if wrapped is not module and "_hf_hook" in vars(module) and "forward" not in vars(module):
        raise ValueError(
            f"`pipe.{name}` must be offloaded before `torch.compile` wraps it, got it offloaded afterwards: compile it in place, "
            f"with pipe.{name}.compile()."
        )
    with ExitStack() as stack:
        for part in (module, *parts):
            stack.enter_context(_set_aside_for_now(part))
        if wrapped is not module:
            setattr(pipeline, name, module)
        try:
            yield
        finally:
            if getattr(pipeline, name) is module and wrapped is not module:
                setattr(pipeline, name, wrapped)


@contextmanager
def _set_aside_for_now(module: Any) -> Iterator[None]:
    """Let a module that was compiled in place run uncompiled."""
    with _lock:  # other pipelines may be running it uncompiled already
        calls, call = _set_aside.get(module, (0, None))
        own = getattr(module, "_compiled_call_impl", None)
        _set_aside[module] = calls + 1, own or call
        if own is not None:
            module._compiled_call_impl = None
    try:
        yield
    finally:
        with _lock:
            calls, call = _set_aside.pop(module)
            if calls > 1:
                _set_aside[module] = calls - 1, call
            elif call is not None and module._compiled_call_impl is None:
                module._compiled_call_impl = call


def twice(value: Any, rows: int) -> Any:
    """Return a nested value in which each tensor of `rows` rows stands twice, one below the other."""
    return with_rows(value, rows, lambda tensor: torch.cat([tensor, tensor]))


def with_rows(value: Any, rows: int, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a nested value in which each tensor of `rows` rows is what `change` makes of it."""
    if isinstance(value, Tensor):
        return change(value) if value.ndim and len(value) == rows else value
    if isinstance(value, Mapping):
        return {key: item if key in OF_NO_ROW else with_rows(item, rows, change) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(with_rows(item, rows, change) for item in value)
    return value
