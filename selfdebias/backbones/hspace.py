"""The hooks: record or replace the bottleneck activation `h_t` of an unmodified diffusers pipeline.

All that touches a pipeline is here: a pre-hook on the UNet that reads the timestep, a hook on its ``mid_block`` that sees `h_t`,
and the scope of one pipeline call, so that steps are counted from its start and a UNet that two pipelines share is left alone
while the other one runs, in this thread or in another. Everything is removed on exit, also after an exception.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn

from selfdebias.backbones.compiled import is_compiled, plain, uncompiled
from selfdebias.backbones.passes import bound, noise_kept, taken_from

MARK = "_selfdebias_hooked"  # on the class of a pipeline while it is hooked
Action = Callable[[Tensor, "Step"], Tensor | None]
Scale = Callable[["Step"], float]
_hooks: WeakKeyDictionary[Any, WeakSet[BottleneckHook]] = WeakKeyDictionary()  # open ones, by the UNet that they are on


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


class BottleneckHook:
    """Calls `action(h, step)` with every `h_t` of a pipeline while the context is open.

    What the action returns replaces `h_t`; None leaves it as it is.

    Args:
        pipeline: a diffusers pipeline with a ``unet`` that has a ``mid_block``.
        action: gets `h` of shape (branches x B, C, H, W) and the `Step`. Gradients are off when it is called.
        on_call: gets the arguments of each pipeline call, by name, before each of its passes starts.
        extrapolate: where the pipeline has no classifier-free guidance, the scale w, at least 1, with which an edit is
            extrapolated at a step. Above 1, the UNet draws every row twice, stacked as ``("uncond", "cond")`` for the action,
            and the two predictions are put together as ``(1 - w) eps_u + w eps_c``. Without an edit they are the same.
        take_back: if given, each call is drawn twice from the same noise. In the first pass, `last` is False and what the action
            returns replaces nothing; after the second, this gives the places of the images that are taken from the first.
        acts: whether the action is to see a step; None for each of them. A pipeline call in which it missed one is an error.
        on_end: gets the number of planned steps after each pass that ended without an exception.
        on_close: gets, after each pipeline call, whether it is whole: it neither raised nor was interrupted.

    Raises:
        ValueError: if the pipeline has no UNet with a bottleneck; on entering, if the pipeline is hooked already.
        RuntimeError: in a call of the pipeline, if another one runs, or if the UNet's bottleneck did not run where it should.
    """

    def __init__(
        self,
        pipeline: Any,
        action: Action,
        on_call: Callable[[Mapping[str, Any]], None] | None = None,
        extrapolate: Scale | None = None,
        take_back: Callable[[], Sequence[int]] | None = None,
        acts: Callable[[Step], bool] | None = None,
        on_end: Callable[[int], None] | None = None,
        on_close: Callable[[bool], None] | None = None,
    ):
        self.pipeline = pipeline
        self.action = action
        self.on_call = on_call
        self.extrapolate = extrapolate
        self.take_back, self.last = take_back, True
        self.acts, self.on_end, self.on_close = acts, on_end, on_close
        self.unet = find_unet(pipeline)
        self._handles: list[Any] = []
        self._calling = threading.Lock()  # held while the pipeline is called
        self._thread: int | None = None  # that calls it
        self._index, self._seen = -1, -1
        self._said: set[str] = set()  # each warning comes once
        self._timestep = 0.0
        self._scale = 1.0

    def __enter__(self) -> Self:
        self._class = type(self.pipeline)
        if hasattr(self._class, MARK):
            raise ValueError(
                f"`pipeline` must not be attached already, got {self._class.__name__} inside another context: leave that first."
            )
        self.pipeline.__class__ = self._scoped(self._class)
        _hooks.setdefault(self.unet, WeakSet()).add(self)
        self._handles = [
            self.unet.register_forward_pre_hook(self._before_unet, with_kwargs=True),
            self.unet.mid_block.register_forward_hook(self._after_bottleneck),
            self.unet.register_forward_hook(self._after_unet),
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        _hooks[self.unet].discard(self)
        self.pipeline.__class__ = self._class

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the hook itself: a copy of its UNet carries it along, and it does nothing there."""
        return self

    @property
    def _inside(self) -> bool:
        """Whether this thread is in a call of the pipeline."""
        return self._thread == threading.get_ident()

    def _scoped(self, pipeline_class: type) -> type:
        """Return the pipeline's class with a `__call__` that marks its beginning and end.

        Python looks `__call__` up on the class, so the instance gets a class of the same name for as long as it is hooked.
        """
        hook = self

        @wraps(pipeline_class.__call__)
        def call(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
            arguments = bound(pipeline_class, pipeline, args, kwargs)
            return hook._draw(partial(pipeline_class.__call__, pipeline, *args, **kwargs), arguments)

        def reduce(pipeline: Any, protocol: Any) -> Any:
            """A copy is of the class itself, and not hooked."""
            reduced: Any = object.__reduce_ex__(pipeline, protocol)
            return reduced[0], (pipeline_class, *reduced[1][1:]), *reduced[2:]

        members = {"__call__": call, "__reduce_ex__": reduce, "__module__": pipeline_class.__module__, MARK: True}
        return type(pipeline_class.__name__, (pipeline_class,), members)

    def _draw(self, call: Callable[[], Any], arguments: Mapping[str, Any]) -> Any:
        """Return what a pipeline's call gives, of one pass or put together from two; the arguments are those of the call."""
        if not self._calling.acquire(blocking=False):
            raise RuntimeError(
                "`pipeline` must be called once at a time while it is attached, got a second call before the first one ended: "
                "give each thread a pipeline of its own (such as pipeline.from_pipe(pipeline)), and attach to each."
            )
        whole = False
        if is_compiled(self.pipeline):
            self._say_once(
                f"The UNet of the attached {self._class.__name__} is compiled as a whole, and runs uncompiled while attached: "
                f"pipe.unet.compile_repeated_blocks() compiles its blocks in its place, and these stay compiled."
            )
        try:
            with uncompiled(self.pipeline):
                output = self._in_passes(call, arguments)
            whole = not self._interrupted
            return output
        finally:
            if self.on_close:
                self.on_close(whole)
            self._calling.release()

    def _in_passes(self, call: Callable[[], Any], arguments: Mapping[str, Any]) -> Any:
        if not self.take_back:
            with self._one_pass(arguments):
                return call()
        with self._one_pass(arguments, last=False), noise_kept(self.pipeline, arguments):
            first = call()
        if self._interrupted:
            return first
        with self._one_pass(arguments):
            output = call()
        return taken_from(first, output, self.take_back())

    @property
    def _interrupted(self) -> bool:
        """Whether somebody has asked the pipeline to leave out the steps that are left, as diffusers' `interrupt` does."""
        return bool(getattr(self.pipeline, "interrupt", False))

    @contextmanager
    def _one_pass(self, arguments: Mapping[str, Any], last: bool = True) -> Iterator[None]:
        self.last = last
        if self.on_call:
            self.on_call(arguments)
        self._index, self._thread = -1, threading.get_ident()
        try:
            yield
            self._end()
        finally:
            self._thread, self.last = None, True

    def _end(self) -> None:
        """Refuse a pass in which steps were left out that the action was to see, unless somebody interrupted it."""
        count = self._count()
        left = [
            i for i in range(self._index + 1, count) if self._acts(Step(math.nan, i, count, (), 1.0, alpha_bar=0.5))
        ]
        if left and not self._interrupted:
            raise RuntimeError(
                f"`pipeline.unet` must be the one that was attached, got a call in which it ran {self._index + 1} of {count} "
                f"times: attach again after another UNet, or a cache of its blocks, was put in."
            )
        if self.on_end:
            self.on_end(count)

    def _acts(self, step: Step) -> bool:
        return self.acts is None or self.acts(step)

    def _count(self) -> int:
        return getattr(self.pipeline, "num_timesteps", None) or len(self.pipeline.scheduler.timesteps)

    def _before_unet(self, unet: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if not self._inside or unet is not self.unet:
            self._check_outside(unet)
            return None
        self._scale = 1.0
        self._index += 1
        self._timestep = float(kwargs["timestep"] if "timestep" in kwargs else args[1])
        step = self._step()
        if self.extrapolate and self.last and step.branches == ("cond",):
            self._scale = self.extrapolate(step)
        if self._scale == 1:
            return None
        rows = len(kwargs["sample"] if "sample" in kwargs else args[0])
        return _twice(args, rows), _twice(kwargs, rows)

    def _after_bottleneck(self, block: nn.Module, args: tuple, h: Tensor) -> Tensor | None:
        if not self._inside or block is not self.unet.mid_block:
            return None
        self._seen = self._index
        edited = self.action(h, self._step())
        return edited if self.last else None

    def _check_outside(self, unet: nn.Module) -> None:
        """Warn where the UNet runs for another pipeline, unless that one is attached too."""
        if unet is self.unet and self._handles and not any(hook._inside for hook in _hooks[self.unet]):
            self._say_once(
                f"The UNet of the attached {self._class.__name__} runs outside of its calls: what another pipeline that shares it "
                f"draws is not guided. Attach to that pipeline as well."
            )

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, stacklevel=3)

    def _after_unet(self, unet: nn.Module, args: tuple, output: Any) -> Any:
        if not self._inside or unet is not self.unet:
            return None
        if self._seen != self._index and self._acts(self._step()):
            raise RuntimeError(
                f"`pipeline.unet.mid_block` must run at each step, and did not at step {self._index}: compile the UNet "
                f"(`pipe.unet.compile()`) and not its `forward`, and attach without a cache that leaves blocks out."
            )
        if self._scale == 1:
            return None
        plain, edited = output[0].chunk(2)
        predicted = plain + self._scale * (edited - plain)
        return (predicted, *output[1:]) if type(output) is tuple else type(output)(sample=predicted)

    def _step(self) -> Step:
        pipeline = self.pipeline
        guided = bool(getattr(pipeline, "do_classifier_free_guidance", False))
        scale = float(pipeline.guidance_scale) if guided else self._scale
        return Step(
            timestep=self._timestep,
            index=self._index,
            count=self._count(),
            branches=("uncond", "cond") if guided or scale != 1 else ("cond",),
            guidance_scale=scale,
            alpha_bar=alpha_bar_of(pipeline.scheduler, self._timestep),
        )


def alpha_bar_of(scheduler: Any, timestep: float) -> float:
    """Return `alpha_bar` at a training timestep, linear between whole ones; NaN where the scheduler states none."""
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return math.nan
    low = min(max(int(timestep), 0), len(alphas) - 1)
    high = min(low + 1, len(alphas) - 1)
    return float(alphas[low]) + (timestep - int(timestep)) * float(alphas[high] - alphas[low])


def _twice(value: Any, rows: int) -> Any:
    """Return a nested value in which each tensor of `rows` rows stands twice, one below the other."""
    if isinstance(value, Tensor):
        return torch.cat([value, value]) if value.ndim and len(value) == rows else value
    if isinstance(value, Mapping):
        return {key: _twice(item, rows) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_twice(item, rows) for item in value)
    return value


def find_unet(pipeline: Any) -> Any:
    """Return the pipeline's UNet; of a compiled one, the module that was compiled.

    Raises:
        ValueError: if there is none with a ``mid_block``.
    """
    unet = plain(getattr(pipeline, "unet", None))
    if getattr(unet, "mid_block", None) is None:
        raise ValueError(
            f"`pipeline` must have a `unet` with a `mid_block`, got {type(pipeline).__name__} without one."
        )
    return unet


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
