"""Which model a debiaser was fitted on: a digest of the denoiser's weights that is quickly compared with that of a loaded one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

SAMPLES = 256  # values of each tensor
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_ADAPTER = re.compile(r"(^|[._])lora_|\.(ada)?lora|_adapter(\.|$)")  # keys that an adapter adds
_known: WeakKeyDictionary[nn.Module, tuple[Any, dict[str, str] | None]] = WeakKeyDictionary()


def identity_of(denoiser: nn.Module) -> dict[str, str] | None:
    """Return what distinguishes a denoiser from others, remembered while its weights are not changed.

    Names, shapes and 256 evenly spaced values of each tensor, rounded to half precision, so that the same weights in float32
    and in float16 are the same; keys of adapters that are not merged are left out.

    Args:
        denoiser: the pipeline's UNet.

    Returns:
        ``dtype`` of the weights, and a digest of the values in ``float16`` and in ``bfloat16``; None where weights cannot be read,
        as they are offloaded or quantised.
    """
    tensors = dict(_tensors(denoiser))
    try:
        seen = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors.values())
    except RuntimeError:  # of tensors made in inference mode, or of none
        seen = None
    if seen is not None and denoiser in _known and _known[denoiser][0] == seen:
        return _known[denoiser][1]
    found = _digests(tensors)
    if seen is not None:
        _known[denoiser] = (seen, found)
    return found


def is_same(fitted: Mapping[str, str], loaded: Mapping[str, str]) -> bool | None:
    """Return whether two identities are of the same weights; None where their roundings cannot be compared.

    Example:
        >>> one = {"dtype": "float32", "float16": "a", "bfloat16": "b"}
        >>> is_same(one, {"dtype": "bfloat16", "float16": "c", "bfloat16": "b"})
        True
        >>> is_same(one, {"dtype": "float16", "float16": "c", "bfloat16": "b"})
        False
    """
    dtypes = {str(fitted.get("dtype")), str(loaded.get("dtype"))}
    if dtypes == {"float16", "bfloat16"}:
        return None
    kind = "bfloat16" if "bfloat16" in dtypes else "float16"
    return fitted.get(kind) == loaded.get(kind)


def _tensors(denoiser: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the denoiser's own tensors by the names that they have without adapters."""
    for name, tensor in sorted(denoiser.state_dict(keep_vars=True).items()):
        if not _ADAPTER.search(name):
            yield name.replace(".base_layer.", "."), tensor.detach()


def _digests(tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
    if not tensors or any(tensor.is_meta or not tensor.is_floating_point() for tensor in tensors.values()):
        return None
    hashes = {kind: hashlib.sha256() for kind in DTYPES}
    for name, tensor in sorted(tensors.items()):
        flat = tensor.reshape(-1)  # evenly spaced values, the first and the last one among them
        places = torch.linspace(0, max(0, len(flat) - 1), min(SAMPLES, len(flat)), dtype=torch.float64).round().long()
        values = flat[places.to(flat.device)].float().cpu()
        for kind, dtype in DTYPES.items():
            rounded = values.to(dtype).view(torch.int16).numpy().tobytes()
            hashes[kind].update(f"{name} {tuple(tensor.shape)}".encode() + rounded)
    loaded = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    return {"dtype": loaded, **{kind: it.hexdigest()[:16] for kind, it in hashes.items()}}
