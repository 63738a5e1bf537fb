"""What the keys of a fit's stages say of the objects that it is given: the pipeline, the encoder, the vocabulary."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import CodeType
from typing import Any

import torch
from torch import nn

from selfdebias.backbones.denoisers import find_denoiser
from selfdebias.config.keys import digest


def weights_of(module: nn.Module) -> str:
    """Return a digest of the weights of a model, and of the scales of its adapters.

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


def encoder_key(encoder: Any) -> str:
    """Return what tells two encoders of one name apart: weights of a module, the code of a function; "" for a fingerprint's.

    A fingerprint stands in the encoder's name. An object that is none of these goes by the name of its class alone: "".
    """
    if hasattr(encoder, "fingerprint"):
        return ""
    if isinstance(encoder, nn.Module):
        return weights_of(encoder)
    return digest(_of_code(encoder.__code__)) if hasattr(encoder, "__code__") else ""


def _of_code(code: CodeType) -> list[Any]:
    """Return what a function does, as JSON values, with the functions that it makes."""
    constants = [_of_code(it) if isinstance(it, CodeType) else repr(it) for it in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def vocabulary_key(vocabulary: Any) -> str:
    """Return the fingerprint of a vocabulary's captions; "" for none."""
    return str(vocabulary.fingerprint()) if hasattr(vocabulary, "fingerprint") else ""
