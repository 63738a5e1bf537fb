"""A compiled UNet as it is written: compiled code that was traced without hooks never runs them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

_set_aside: WeakKeyDictionary[Any, tuple[int, Any]] = (
    WeakKeyDictionary()
)  # by UNet: calls that run, and its compiled call
_lock = threading.Lock()


def plain(unet: Any) -> Any:
    """Return the module that `torch.compile` wrapped; itself where it wrapped none."""
    return getattr(unet, "_orig_mod", unet)


def is_compiled(pipeline: Any) -> bool:
    """Whether a pipeline's UNet is compiled as a whole, by ``unet.compile()`` or ``torch.compile(unet)``."""
    unet = pipeline.unet
    return plain(unet) is not unet or getattr(unet, "_compiled_call_impl", None) is not None


@contextmanager
def uncompiled(pipeline: Any) -> Iterator[None]:
    """Let a pipeline run its UNet uncompiled; afterwards it is compiled as it was, and nothing has to be traced anew.

    Compiled code neither runs hooks that were added later nor forgets those that it was traced with, as torch guards no hooks.
    To throw all compiled code away (`torch.compiler.reset`) would cost minutes for each context, and refuse `fullgraph=True`.

    Raises:
        ValueError: if the UNet was offloaded by accelerate after `torch.compile` wrapped it: uncompiled, it would stay where it is.
    """
    wrapped, unet = pipeline.unet, plain(pipeline.unet)
    if wrapped is not unet and "_hf_hook" in vars(unet) and "forward" not in vars(unet):
        raise ValueError(
            "`pipe.unet` must be offloaded before `torch.compile` wraps it, got it offloaded afterwards: compile it in place, with "
            "pipe.unet.compile()."
        )
    _put_aside(unet)
    if wrapped is not unet:
        pipeline.unet = unet
    try:
        yield
    finally:
        if pipeline.unet is unet and wrapped is not unet:
            pipeline.unet = wrapped
        _put_back(unet)


def _put_aside(unet: Any) -> None:
    """Take the compiled call off a UNet, which other pipelines may be running uncompiled already."""
    with _lock:
        calls, call = _set_aside.get(unet, (0, None))
        own = getattr(unet, "_compiled_call_impl", None)
        _set_aside[unet] = calls + 1, own or call
        if own is not None:
            unet._compiled_call_impl = None


def _put_back(unet: Any) -> None:
    with _lock:
        calls, call = _set_aside.pop(unet)
        if calls > 1:
            _set_aside[unet] = calls - 1, call
        elif call is not None and unet._compiled_call_impl is None:
            unet._compiled_call_impl = call
