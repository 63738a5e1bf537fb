"""Folders of pretrained models: where they are, and whether all that is needed is in them. Nothing heavy is imported here."""

from __future__ import annotations

import json
from pathlib import Path

from selfdebias.testbed import shipped

PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth")
WITHOUT_WEIGHTS = ("scheduler", "tokenizer", "tokenizer_2", "feature_extractor", "image_processor")


def resolve(name: str) -> Path:
    """Return the folder of a model: ``shipped:NAME`` comes with the package, anything else is a path.

    Raises:
        FileNotFoundError: if no such model is shipped.
    """
    return shipped(name.removeprefix("shipped:")) if name.startswith("shipped:") else Path(name)


def pipeline_folder(name: str) -> Path:
    """Return a folder that holds a whole diffusers pipeline with safetensors weights.

    Args:
        name: as in `resolve`.

    Raises:
        FileNotFoundError: if it, or a part of it, is missing.
        ValueError: if a part has pickled weights only.
    """
    folder = resolve(name)
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"`model.pretrained` must be a folder with a model_index.json, got {name!r}.")
    index = json.loads((folder / "model_index.json").read_text())
    for part, origin in index.items():
        if isinstance(origin, list) and origin[0] is not None:
            _check_part(name, folder / part, part)
    return folder


def model_folder(field: str, name: str, files: tuple[str, ...] = ("config.json",)) -> Path:
    """Return a folder that holds one transformers model with safetensors weights.

    Args:
        field: the option that named it, for the message.
        name: as in `resolve`.
        files: what must be there beside the weights.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if there are pickled weights only.
    """
    folder = resolve(name)
    for file in files:
        if not (folder / file).is_file():
            raise FileNotFoundError(f"`{field}` must be a folder with a {file}, got {name!r}.")
    if not (folder / "model.safetensors").is_file():
        _refuse_pickles(field, name, folder, "the model")
        raise FileNotFoundError(f"`{field}` must be a folder with a model.safetensors, got {name!r}.")
    return folder


def _check_part(name: str, folder: Path, part: str) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`model.pretrained` must be a folder with all its parts, got {name!r} without {part}/."
        )
    if part in WITHOUT_WEIGHTS or any(folder.glob("*.safetensors")):
        return
    _refuse_pickles("model.pretrained", name, folder, part)
    raise FileNotFoundError(
        f"`model.pretrained` must hold weights in {part}/, got {name!r} without a *.safetensors there."
    )


def _refuse_pickles(field: str, name: str, folder: Path, part: str) -> None:
    if any(path for pattern in PICKLES for path in folder.glob(pattern)):
        raise ValueError(
            f"`{field}` must hold safetensors weights, got {name!r} with a pickle for {part}, which could run code: load it "
            f"where you trust it and save it again with save_pretrained(folder, safe_serialization=True)."
        )
