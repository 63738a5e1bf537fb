"""Which devices this computer has."""

from __future__ import annotations

import torch


def check_device(device: str) -> str:
    """Return the device, if this computer has it.

    Raises:
        ValueError: if it has not.
    """
    asked, xpu = torch.device(device), getattr(torch, "xpu", None)
    there = {
        "cuda": torch.cuda.is_available() and (asked.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
        "xpu": xpu is not None and xpu.is_available() and (asked.index or 0) < xpu.device_count(),
    }
    if not there.get(asked.type, True):
        raise ValueError(
            f"`model.device` must be a device of this computer, got {device!r}, which is not there: take model.device=cpu "
            f"(and model.dtype=float32), or a computer that has it."
        )
    return device
