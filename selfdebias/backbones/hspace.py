"""The hooks: record or replace the bottleneck activation `h_t` of an unmodified diffusers pipeline, or the embedding of its text.

All that touches a pipeline is here: a pre-hook on the UNet that reads the timestep and the text, a hook on its ``mid_block`` that
sees `h_t`, and the scope of one pipeline call, so that steps are counted from its start and a UNet that two pipelines share is left
alone while the other one runs, in this thread or in another. Everything is removed on exit, also after an exception.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor, nn

from selfdebias.backbones import calling
from selfdebias.backbones.calling import Step, alpha_bar_of, find_unet, split_branches

__all__ = ["SITES", "BottleneckHook", "Step", "alpha_bar_of", "find_unet", "split_branches"]

SITES = ("bottleneck", "text")  # where guidance may act: what the UNet's `mid_block` returns, and `TEXT`
TEXT = "encoder_hidden_states"  # the text embeddings, an argument of the UNet
MARK = "_selfdebias_hooked"  # on the class of a pipeline while it is hooked
Action = Callable[[Tensor, Step], Tensor | None]
Scale = Callable[[Step], float]
_hooks: WeakKeyDictionary[Any, WeakSet[BottleneckHook]] = WeakKeyDictionary()  # open ones, by the UNet that they are on


class BottleneckHook:
    """Calls `action(h, step)` with every `h_t`, or text embedding, of a pipeline while the context is open.

    What the action returns replaces it; None leaves it as it is.

    Args:
        pipeline: a diffusers pipeline with a ``unet`` that has a ``mid_block``.
        action: gets `h` of shape (branches x B, C, H, W), or text of (branches x B, L, D), and the `Step`. Gradients are off when
            it is called.
        on_call: gets the arguments of each pipeline call, by name, before it starts.
        extrapolate: where the pipeline has no classifier-free guidance, the scale w, at least 1, with which an edit is
            extrapolated at a step. Above 1, the UNet computes every row twice, stacked as ``("uncond", "cond")`` for the action,
            and the two predictions are put together as ``(1 - w) eps_u + w eps_c``. Without an edit they are the same.
        acts: whether the action is to see a step; None for each of them. A pipeline call in which it missed one is an error.
        on_end: gets the number of planned steps after each call that ended without an exception.
        on_close: gets, after each pipeline call, whether it is whole: it neither raised nor was interrupted.
        site: where the activation is read and replaced, one of `SITES`.

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
        acts: Callable[[Step], bool] | None = None,
        on_end: Callable[[int], None] | None = None,
        on_close: Callable[[bool], None] | None = None,
        site: str = "bottleneck",
    ):
        if site not in SITES:
            raise ValueError(f"`site` must be one of {', '.join(SITES)}, got {site!r}.")
        self.pipeline, self.action, self.extrapolate = pipeline, action, extrapolate
        self.on_call, self.on_end, self.on_close = on_call, on_end, on_close
        self.acts = acts or (lambda step: True)
        self.unet, self.site = find_unet(pipeline), site
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
        self.block = self.unet.mid_block
        self.pipeline.__class__ = calling.with_call(self._class, MARK, self._draw)
        _hooks.setdefault(self.unet, WeakSet()).add(self)
        self._handles = [
            self.unet.register_forward_pre_hook(self._before_unet, with_kwargs=True),
            self.block.register_forward_hook(self._after_block),
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

    def _draw(self, call: Callable[[], Any], arguments: Mapping[str, Any]) -> Any:
        """Return what a pipeline's call gives; the arguments are those of the call."""
        if not self._calling.acquire(blocking=False):
            raise RuntimeError(
                "`pipeline` must be called once at a time while it is attached, got a second call before the first one ended: "
                "give each thread a pipeline of its own (such as pipeline.from_pipe(pipeline)), and attach to each."
            )
        whole = False
        unet = self.pipeline.unet
        if calling.plain(unet) is not unet or getattr(unet, "_compiled_call_impl", None) is not None:
            self._say_once(
                f"The UNet of the attached {self._class.__name__} is compiled as a whole, and runs uncompiled while attached: "
                f"pipe.unet.compile_repeated_blocks() compiles its blocks in its place, and these stay compiled."
            )
        try:
            with calling.uncompiled(self.pipeline), self._counted(arguments):
                output = call()
            whole = not self._interrupted
            return output
        finally:
            if self.on_close:
                self.on_close(whole)
            self._calling.release()

    @property
    def _interrupted(self) -> bool:
        """Whether somebody has asked the pipeline to leave out the steps that are left, as diffusers' `interrupt` does."""
        return bool(getattr(self.pipeline, "interrupt", False))

    @contextmanager
    def _counted(self, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Count the UNet calls of the body, which is a call of the pipeline."""
        if self.on_call:
            self.on_call(arguments)
        self._index, self._thread = -1, threading.get_ident()
        try:
            yield
            self._end()
        finally:
            self._thread = None

    def _end(self) -> None:
        """Refuse a call in which steps were left out that the action was to see, unless somebody interrupted it."""
        count = self._count()
        if not self._interrupted and any(self.acts(step) for step in calling.planned_steps(self._index + 1, count)):
            raise RuntimeError(
                f"`pipeline.unet` must be the one that was attached, got a call in which it ran {self._index + 1} of {count} "
                f"times: attach again after another UNet, or a cache of its blocks, was put in."
            )
        if self.on_end:
            self.on_end(count)

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
        if self.extrapolate and step.branches == ("cond",):
            self._scale = self.extrapolate(step)
        if self._scale != 1:
            rows = len(kwargs["sample"] if "sample" in kwargs else args[0])
            args, kwargs = calling.twice(args, rows), calling.twice(kwargs, rows)
        if self.site == "text":
            edited = self._act(kwargs[TEXT])
            kwargs = kwargs if edited is None else {**kwargs, TEXT: edited}
        return args, kwargs

    def _after_block(self, block: nn.Module, args: tuple, h: Tensor) -> Tensor | None:
        outside = not self._inside or block is not self.block
        return None if outside or self.site != "bottleneck" else self._act(h)

    def _act(self, h: Tensor) -> Tensor | None:
        self._seen = self._index
        return self.action(h, self._step())

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
        if self._seen != self._index and self.acts(self._step()):
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
