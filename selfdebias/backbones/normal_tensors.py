"""Leaving inference mode: what guidance makes and reads are normal tensors, whatever mode the caller is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
