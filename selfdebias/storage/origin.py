"""What the file of an evaluated arm says of how it was made. Torch is not needed."""

from __future__ import annotations

from pathlib import Path

from selfdebias.config.rules import refuse

ORIGIN = ("judge", "encoder", "features", "sha256", "key")  # what is noted in the file of an arm


def read_origin(path: str | Path) -> dict[str, str]:
    """What an earlier evaluation noted in its file `probabilities-<arm>.safetensors`.

    Raises:
        ConfigError: If the file is none of these, or from a version that noted nothing.
    """
    from safetensors import SafetensorError, safe_open

    words = "a folder, a job, or a probabilities-<arm>.safetensors of a finished evaluate stage"
    try:
        with safe_open(path, framework="numpy") as file:
            origin = dict(file.metadata() or {})
    except SafetensorError:
        raise refuse("evaluate.reference", words, str(path)) from None
    if not {*ORIGIN} <= origin.keys():
        raise refuse("evaluate.reference", f"{words}, with a note of its encoder (evaluate again)", str(path))
    return origin
