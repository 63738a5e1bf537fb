"""What the keys of a fit's stages say of the objects that it is given: the pipeline, the encoder, the vocabulary."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from types import CodeType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from selfdebias.backbones.denoisers import find_denoiser
from selfdebias.config.keys import digest


def weights_of(module: nn.Module) -> str:
    """Return a digest of the weights of a model, of the scales of its adapters, and of FreeU's factors.

    Raises:
        ValueError: if they are elsewhere, as with sequential offload.
    """
    hashed = hashlib.sha256()
    for name, value in module.state_dict().items():
        if value.is_meta:
            raise ValueError(
                f"`pipe` must hold its weights while it is fitted, got {name} elsewhere: call enable_sequential_cpu_offload() "
                f"after fit, or take enable_model_cpu_offload()."
            )
        hashed.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for name, part in module.named_modules():
        if isinstance(scales := getattr(part, "scaling", None), Mapping):  # of a LoRA's adapters, which are no weights
            hashed.update(repr((name, sorted(scales.items()), getattr(part, "active_adapters", None))).encode())
        scale = getattr(part, "scale", None)
        if name.endswith("processor") and isinstance(scale, list | float | int):  # of an IP adapter
            hashed.update(repr((name, scale)).encode())
        freed = [getattr(part, it, None) for it in ("s1", "s2", "b1", "b2")]
        if any(it is not None for it in freed):
            hashed.update(repr((name, freed)).encode())
    return hashed.hexdigest()[:16]


def pipeline_key(pipe: Any) -> dict[str, Any]:
    """Return what images depend on beside the denoiser: class, scheduler, and digests of the other parts, as JSON values."""
    denoiser, scheduler = find_denoiser(pipe).module, pipe.scheduler
    others = {
        name: part for name, part in pipe.components.items() if isinstance(part, nn.Module) and part is not denoiser
    }
    config = sorted((name, repr(value)) for name, value in scheduler.config.items() if not name.startswith("_"))
    return {
        "pipeline": type(pipe).__name__,
        "scheduler": digest({"class": type(scheduler).__name__, "config": config}),
        "parts": {name: weights_of(part) for name, part in sorted(others.items())},
    }


def argument_key(value: Any) -> Any:
    """Return what tells two arguments of a pipeline call apart, as JSON values.

    Of images, arrays and tensors it is a digest of their contents; what is neither these nor a JSON value goes by its `repr`.
    """
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Image.Image):
        return digest([value.mode, value.size, value.getpalette(), hashlib.sha256(value.tobytes()).hexdigest()])
    if isinstance(value, torch.Tensor):
        held = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return digest([str(value.dtype), list(value.shape), hashlib.sha256(held.data).hexdigest()])
    if isinstance(value, np.ndarray) and value.dtype != object:
        return digest([str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()])
    if isinstance(value, list | tuple) and not all(isinstance(it, str | int | float | bool | None) for it in value):
        return [argument_key(it) for it in value]
    return repr(value)


def encoder_key(encoder: Any) -> str:
    """Return what tells two encoders of one name apart; "" for one with a fingerprint, which stands in its name.

    Of a module these are its weights and the code of its `forward`; of a function its code, with the weights of modules that it
    uses, and of a method with those of its object. What the code calls is not followed further: after a change there, take another
    `folder`. Any other object goes by the name of its class alone: "".
    """
    if hasattr(encoder, "fingerprint"):
        return ""
    if isinstance(encoder, nn.Module):
        forward = inspect.unwrap(type(encoder).forward)  # of torch.no_grad() and the like
        return digest([weights_of(encoder), _of_code(forward.__code__) if hasattr(forward, "__code__") else ""])
    own, function = getattr(encoder, "__self__", None), inspect.unwrap(encoder)
    if not hasattr(function, "__code__"):
        return ""
    found, held = inspect.getclosurevars(function), {"": own, **getattr(own, "__dict__", {})}
    used = [*sorted({**found.nonlocals, **found.globals}.items()), *sorted(held.items())]
    modules = [weights_of(it) for _, it in used if isinstance(it, nn.Module)]
    return digest([_of_code(function.__code__), *modules])


def _of_code(code: CodeType) -> list[Any]:
    """Return what a function does, as JSON values, with the functions that it makes."""
    constants = [_of_code(it) if isinstance(it, CodeType) else repr(it) for it in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def vocabulary_key(vocabulary: Any) -> str:
    """Return the fingerprint of a vocabulary's captions; "" for none."""
    return str(vocabulary.fingerprint()) if hasattr(vocabulary, "fingerprint") else ""
