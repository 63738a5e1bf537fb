"""Reads weights that the user has fetched, by the names of their tensors, running no code in the file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from selfdebias.storage.weights.file import WeightFile

COUNTER = "num_batches_tracked"  # of batch norms, of no use to a frozen net


def read_weights(file: WeightFile, network: torch.nn.Module) -> dict[str, Tensor]:
    """Read a state dictionary and hold its names and shapes against a network's; no code in the file is run.

    Args:
        file: *.safetensors, or what `torch.save` wrote, of which tensors alone are unpickled.
        network: what it is meant for; not changed.

    Returns:
        the network's tensors by name, on the CPU, without counters of batches.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if its checksum is another, it holds something else than tensors, or one is missing, not known, or of
            another shape.
    """
    path = file.check()
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"`{file.option}` must hold tensors by name and nothing else, got {str(path)!r}, which is broken or holds code, "
            f"and was not run ({type(error).__name__})."
        ) from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(
            f"`{file.option}` must hold tensors by name, got {str(path)!r} with a {type(content).__name__}."
        )
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
    weights = {name: tensor for name, tensor in content.items() if not str(name).endswith(COUNTER)}
    _check_names(file, wanted, weights)
    return weights


def _unpickle(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _check_names(file: WeightFile, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for name in wanted:
        if name not in found:
            raise ValueError(f"`{file.option}` must have the tensor {name}, got {file.path!r} without it.")
    for name in found:
        if name not in wanted:
            raise ValueError(
                f"`{file.option}` must hold the tensors of {file.published}, got {file.path!r} with a tensor {name}."
            )
        if found[name].shape != wanted[name].shape:
            shapes = tuple(wanted[name].shape), tuple(found[name].shape)
            raise ValueError(
                f"`{file.option}` must have {name} of shape {shapes[0]}, got {shapes[1]} in {file.path!r}."
            )
