"""Calling a pipeline twice with the same noise: what the first call must not use up, and what is taken over from it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor


def bound(pipeline_class: type, pipeline: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Return the arguments of a pipeline's call by name, defaults included."""
    arguments = inspect.signature(pipeline_class.__call__).bind(pipeline, *args, **kwargs)
    arguments.apply_defaults()
    return dict(arguments.arguments)


@contextmanager
def noise_kept(pipeline: Any, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Leave every generator that a pipeline's call draws from as it was before the body.

    Args:
        pipeline: whose device's own generator is kept too, for calls that are given none.
        arguments: of the call, by name.
    """
    given = arguments.get("generator")
    generators = list(given) if isinstance(given, Sequence) else [given] if given is not None else []
    states = [generator.get_state() for generator in generators]
    # Where parts are offloaded, the device that draws is not that where the pipeline is.
    device = torch.device(getattr(pipeline, "_execution_device", pipeline.device))
    kind = {} if device.type == "cpu" else {"device_type": device.type}
    with torch.random.fork_rng([device.index or 0] if kind else [], **kind):
        try:
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def taken_from(first: Any, last: Any, rows: Sequence[int]) -> Any:
    """Return what a pipeline gave, with some of its images from an earlier call.

    Args:
        first: of the earlier call, of the same kind: a tuple, or diffusers' output with its fields.
        last: of the call.
        rows: places of the images that are taken from `first`.

    Returns:
        Like `last`, and itself where no row is taken; lists, arrays and tensors have their rows replaced, other fields stay.

    Example:
        >>> taken_from((["a", "b"], None), (["c", "d"], None), [1])
        (['c', 'b'], None)
    """
    if not rows:
        return last
    if type(last) is tuple:
        return tuple(_rows_from(own, other, rows) for own, other in zip(first, last, strict=True))
    return replace(last, **{name: _rows_from(first[name], value, rows) for name, value in last.items()})


def _rows_from(first: Any, last: Any, rows: Sequence[int]) -> Any:
    if isinstance(last, list):
        return [first[i] if i in rows else item for i, item in enumerate(last)]
    if isinstance(last, Tensor | np.ndarray):
        mixed = last.clone() if isinstance(last, Tensor) else last.copy()
        mixed[list(rows)] = first[list(rows)]
        return mixed
    return last
