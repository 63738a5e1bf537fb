"""The hooks: record or replace the activation `h_t` of an unmodified diffusers pipeline, or the embedding of its text.

All that touches a pipeline is here: a pre-hook on the denoiser that reads the timestep and the text, a hook on its ``mid_block``
or on blocks that sees `h_t`, and the scope of one pipeline call, so that steps are counted from its start and a denoiser that two
pipelines share is left alone while the other one runs, in this thread or in another. Everything is removed on exit, also after an
exception.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor, nn

from selfdebias.backbones import calling
from selfdebias.backbones.calling import Step, alpha_bar_of, split_branches
from selfdebias.backbones.denoisers import TEXT, find_denoiser, plain
from selfdebias.backbones.hooked import with_call
from selfdebias.backbones.layouts import STACKED, extrapolated, refuse_call, rule_of, scale_of

__all__ = ["SITES", "BottleneckHook", "Step", "alpha_bar_of", "find_denoiser", "split_branches"]

SITES = ("bottleneck", "text")  # where guidance may act: `h_t`, and `TEXT`
MARK = "_selfdebias_hooked"  # on the class of a pipeline while it is hooked
Action = Callable[[Tensor, Step], Tensor | None]
Scale = Callable[[Step], float]
_hooks: WeakKeyDictionary[Any, WeakSet[BottleneckHook]] = WeakKeyDictionary()  # open ones, by their denoiser


class BottleneckHook:
    """Calls `action(h, step)` with every `h_t`, or text embedding, of a pipeline while the context is open.

    What the action returns replaces it; None leaves it as it is.

    Args:
        pipeline: a diffusers pipeline with a ``unet`` that has a ``mid_block``, or with one of the transformers of
            `selfdebias.backbones.denoisers`.
        action: gets `h` of shape (branches x B, C, H, W), or text of (branches x B, L, D), and the `Step`. Gradients are off when
            it is called. The tokens of a transformer are seen as (branches x B, D, h, w).
        on_call: gets the arguments of each pipeline call, by name, before it starts.
        extrapolate: where the pipeline has no classifier-free guidance, the scale w, at least 1, with which an edit is
            extrapolated at a step. Above 1, the denoiser computes every row twice, stacked as ``("uncond", "cond")`` for the
            action, and the two predictions are put together as ``(1 - w) eps_u + w eps_c``, which are the same without an edit.
        acts: whether the action is to see a step; None for each of them. A pipeline call in which it missed one is an error.
        on_end: gets the number of planned steps after each call that ended without an exception.
        on_close: gets, after each pipeline call, whether it is whole: it neither raised nor was interrupted.
        site: where the activation is read and replaced, one of `SITES`.
        blocks: of a transformer, after which `h_t` stands, numbers from 0; the action sees one after the other at each step. None
            takes the middle one of the joint blocks.

    Raises:
        ValueError: if the pipeline has no denoiser that is known, or no such block; on entering, if it is hooked already; in a
            call, if that runs the denoiser more than once at a step.
        RuntimeError: in a call of the pipeline, if another one runs, or if a site did not run where it should.
    """

    def __init__(
        self, pipeline: Any, action: Action, on_call: Callable[[Mapping[str, Any]], None] | None = None,
        extrapolate: Scale | None = None, acts: Callable[[Step], bool] | None = None, on_end: Callable[[int], None] | None = None,
        on_close: Callable[[bool], None] | None = None, site: str = "bottleneck", blocks: Sequence[int] | None = None,
    ):  # fmt: skip
        if site not in SITES:
            raise ValueError(f"`site` must be one of {', '.join(SITES)}, got {site!r}.")
        self.pipeline, self.action, self.extrapolate = pipeline, action, extrapolate
        self.on_call, self.on_end, self.on_close = on_call, on_end, on_close
        self.acts = acts or (lambda step: True)
        self.denoiser, self.rule, self.site = find_denoiser(pipeline), rule_of(pipeline), site
        self.module, self.blocks = self.denoiser.module, self.denoiser.sites(blocks)
        self._handles: list[Any] = []
        self._calling = threading.Lock()  # held while the pipeline is called
        self._thread: int | None = None  # that calls it
        self._index = -1
        self._seen: set[int | None] = set()  # blocks, at this step
        self._cfg: float | None = None  # scale of classifier-free guidance
        self._grid: tuple[int, int] | None = None
        self._arguments: Mapping[str, Any] = {}
        self._said: set[str] = set()  # each warning comes once
        self._timestep, self._scale = 0.0, 1.0

    def __enter__(self) -> Self:
        self._class = type(self.pipeline)
        if hasattr(self._class, MARK):
            raise ValueError(
                f"`pipeline` must not be attached already, got {self._class.__name__} inside another context: leave that first."
            )
        self.pipeline.__class__ = with_call(self._class, MARK, self._draw)
        _hooks.setdefault(self.module, WeakSet()).add(self)
        self._handles = [
            self.module.register_forward_pre_hook(self._before, with_kwargs=True),
            *(site.register_forward_hook(self._after_block) for site in self.blocks.values()),
            self.module.register_forward_hook(self._after),
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        _hooks[self.module].discard(self)
        self.pipeline.__class__ = self._class

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the hook itself: a copy of its denoiser carries it along, and it does nothing there."""
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
        try:
            self._say_uncompiled(getattr(self.pipeline, self.denoiser.name))
            with calling.uncompiled(self.pipeline, self.denoiser.name, self.blocks.values()), self._counted(arguments):
                output = call()
            whole = not self._interrupted
            return output
        finally:
            try:
                if self.on_close:
                    self.on_close(whole)
            finally:
                self._calling.release()

    def _say_uncompiled(self, given: Any) -> None:
        if plain(given) is not given or getattr(given, "_compiled_call_impl", None) is not None:
            self._say_once(
                f"The {self.denoiser.title} of the attached {self._class.__name__} is compiled as a whole, and runs uncompiled "
                f"while attached: pipe.{self.denoiser.name}.compile_repeated_blocks() compiles its blocks in its place, and these "
                f"stay compiled."
            )

    @property
    def _interrupted(self) -> bool:  # as diffusers' `interrupt` asks for
        return bool(getattr(self.pipeline, "interrupt", False))

    @contextmanager
    def _counted(self, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Count the denoiser calls of the body, which is a call of the pipeline."""
        refuse_call(self.pipeline, arguments)
        self.denoiser.refuse_cache()
        if self.on_call:
            self.on_call(arguments)
        self._index, self._thread, self._arguments = -1, threading.get_ident(), arguments
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
                f"`pipeline.{self.denoiser.name}` must be the one that was attached, got a call in which it ran {self._index + 1} "
                f"of {count} times: attach again after another one, or a cache of its blocks, was put in."
            )
        if self.on_end and not self._interrupted:
            self.on_end(count)

    def _count(self) -> int:
        return getattr(self.pipeline, "num_timesteps", None) or len(self.pipeline.scheduler.timesteps)

    def _before(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if not self._inside or module is not self.module:
            self._check_outside(module)
            return None
        given = {**dict(zip(self.denoiser.positional, args, strict=False)), **kwargs}
        self._cfg, self._scale = scale_of(self.rule, self.pipeline, self._arguments), 1.0
        self._index, self._seen = self._index + 1, set()
        calling.refuse_extra_run(self._index, self._count(), self.denoiser.name)
        self._timestep, self._grid = self.denoiser.timestep(given), self.denoiser.grid(given)
        if self.extrapolate and self._cfg is None:
            self._scale = self.extrapolate(self._step())
        if self._scale != 1:
            rows = self.denoiser.rows(given)
            args, kwargs = calling.twice(args, rows), calling.twice(kwargs, rows)
        if self.site == "text":
            edited = self._act(kwargs[TEXT])
            kwargs = kwargs if edited is None else {**kwargs, TEXT: edited}
        return args, kwargs

    def _after_block(self, site: nn.Module, args: tuple, output: Any) -> Any:
        if not self._inside or self.site != "bottleneck":
            return None
        for block, own in self.blocks.items():
            if site is own:
                edited = self._act(self.denoiser.read(output, self._grid), block)
                return None if edited is None else self.denoiser.write(output, edited)
        return None

    def _act(self, h: Tensor, block: int | None = None) -> Tensor | None:
        self._seen.add(block)
        return self.action(h, self._step(block))

    def _check_outside(self, module: nn.Module) -> None:
        """Warn where the denoiser runs for another pipeline, unless that one is attached too."""
        if module is self.module and self._handles and not any(hook._inside for hook in _hooks[self.module]):
            self._say_once(
                f"The {self.denoiser.title} of the attached {self._class.__name__} runs outside of its calls: what another "
                f"pipeline that shares it draws is not guided. Attach to that pipeline as well."
            )

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, stacklevel=3)

    def _after(self, module: nn.Module, args: tuple, output: Any) -> Any:
        if not self._inside or module is not self.module:
            return None
        wanted = self.blocks.keys() if self.site == "bottleneck" else {None}
        if (missed := wanted - self._seen) and self.acts(self._step()):
            name, title, site = self.denoiser.name, self.denoiser.title, self.denoiser.site_name(missed.pop())
            raise RuntimeError(
                f"`pipeline.{name}.{site}` must run at each step, and did not at step {self._index}: compile the {title} "
                f"(`pipe.{name}.compile()`) and not its `forward`, and attach without a cache that leaves blocks out."
            )
        if self._scale == 1:
            return None
        predicted = extrapolated(output[0], self._scale, getattr(self.module.config, "in_channels", None))
        return (predicted, *output[1:]) if type(output) is tuple else type(output)(sample=predicted)

    def _step(self, block: int | None = None) -> Step:
        scale = self._scale if self._cfg is None else self._cfg
        return Step(
            timestep=self._timestep,
            index=self._index,
            count=self._count(),
            branches=("cond",) if self._cfg is None and scale == 1 else STACKED,
            guidance_scale=scale,
            alpha_bar=alpha_bar_of(self.pipeline.scheduler, self._timestep),
            block=block,
            site=[*self.blocks].index(block) if block in self.blocks else 0,
            sites=len(self.blocks) if self.site == "bottleneck" else 1,
            doubled=self._cfg is None and scale != 1,
        )
