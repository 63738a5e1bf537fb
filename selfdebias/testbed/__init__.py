"""Emoji World: the small models that ship with the package, as folders beside this file."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def shipped(name: str) -> Path:
    """Return the folder of a shipped model.

    Args:
        name: ``emoji`` (text-to-image pipeline with a UNet), ``emoji_dit`` (one with a transformer), ``emoji_ddpm`` (without
            prompts), ``emoji_clip`` (encoder), ``emoji_judge``, or another of the folders.

    Raises:
        FileNotFoundError: if the package was installed without it.
    """
    folder = HERE / name
    if not name.isidentifier() or not folder.is_dir():
        known = sorted(path.name for path in HERE.iterdir() if (path / "README.md").exists())
        raise FileNotFoundError(f"`name` must be one of the shipped models {known}, got {name!r}.")
    return folder
