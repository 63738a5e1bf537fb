"""The class that a pipeline has while it is attached."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any


def with_call(pipeline_class: type, mark: str, call: Callable[[Callable[[], Any], Mapping[str, Any]], Any]) -> type:
    """Return a class of the same name whose pipelines are called by `call`: Python looks `__call__` up on the class.

    Args:
        pipeline_class: of diffusers.
        mark: an attribute that the class has.
        call: gets the pipeline's own call, ready to run, and its arguments by name, defaults included.
    """
    signature = inspect.signature(pipeline_class.__call__)

    @wraps(pipeline_class.__call__)
    def own_call(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(pipeline, *args, **kwargs)
        bound.apply_defaults()
        return call(partial(pipeline_class.__call__, pipeline, *args, **kwargs), dict(bound.arguments))

    def reduce(pipeline: Any, protocol: Any) -> Any:
        """A copy is of the class itself, and not hooked."""
        reduced: Any = object.__reduce_ex__(pipeline, protocol)
        return reduced[0], (pipeline_class, *reduced[1][1:]), *reduced[2:]

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        """What is made of it (`from_pipe`, `type(pipe)(...)`) is of the class itself, and not hooked."""
        return pipeline_class(*args, **kwargs)

    members = {
        "__call__": own_call,
        "__reduce_ex__": reduce,
        "__new__": new,
        "__module__": pipeline_class.__module__,
        mark: True,
    }
    return type(pipeline_class.__name__, (pipeline_class,), members)
