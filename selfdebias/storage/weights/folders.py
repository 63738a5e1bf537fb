"""What must be in the folder of a pretrained model, on the disk or on the hub. Nothing heavy is imported here."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from selfdebias.storage.atomic import hash_file, read_json

PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth")
TENSORS = ("*.safetensors",)
CONFIGS = ("*.json", "*.txt", "*.model")
WITHOUT_WEIGHTS = ("scheduler", "tokenizer", "tokenizer_2", "feature_extractor", "image_processor")
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")  # of the parts of a pipeline; the last is an old name
SAFETY = ("safety_checker", "feature_extractor")  # parts of a pipeline that are left out, unless they are asked for
WAY_OUT = "save it again with save_pretrained(folder, safe_serialization=True), or set {group}.allow_pickle=true"


def files_of(folder: Path) -> set[str]:
    """Return the files of a folder and of the folders in it, as relative names."""
    paths = [*folder.glob("*"), *folder.glob("*/*")]
    return {path.relative_to(folder).as_posix() for path in paths if path.is_file()}


def check_inside(folder: Path, names: Iterable[str]) -> None:
    """Refuse files that are links to somewhere outside of their folder; the hub's cache keeps its files beside its snapshots.

    Args:
        folder: that somebody else may have written.
        names: relative names of files in it; those that are not there are passed over.

    Raises:
        ValueError: with the first of them.
    """
    place = folder.resolve()
    roots = (place, place.parent.parent / "blobs") if place.parent.name == "snapshots" else (place,)
    for name in names:
        found = (folder / name).resolve()
        if (folder / name).exists() and not any(found.is_relative_to(root) for root in roots):
            raise ValueError(f"`{folder / name}` must be a file of its folder, got a link to somewhere else.")


def check_contents(option: str, folder: Path) -> None:
    """Refuse a model's folder that leads out of itself: by links, or by file names in its indices and tokenizers.

    Args:
        option: that named it, such as ``model.pretrained``.
        folder: of a pipeline or a model.

    Raises:
        ValueError: with the first such file.
    """
    files = sorted(files_of(folder))
    check_inside(folder, files)
    for file in files:
        named: list[Any] = []
        if file.endswith(".index.json"):
            named = [*(read_json(folder / file).get("weight_map") or {}).values()]
        elif Path(file).name == "tokenizer_config.json":
            named = [value for key, value in read_json(folder / file).items() if key.endswith("_file")]
        for name in named:
            if name is not None and (not isinstance(name, str) or Path(name).name != name):
                raise ValueError(
                    f"`{option}` must name files of its own folders, got {str(name)!r} in {folder / file}."
                )


def check_pipeline(
    name: str, index: Mapping[str, Any], files: Collection[str], allow_pickle: bool, without: Collection[str] = SAFETY
) -> None:
    """Refuse a diffusers pipeline that lacks a part, has no UNet, or would have to be unpickled.

    Args:
        name: what `model.pretrained` says.
        index: content of its ``model_index.json``.
        files: its files, as relative names.
        allow_pickle: whether pickled weights will do.
        without: parts that are not loaded.

    Raises:
        FileNotFoundError: if a part is missing.
        ValueError: if there is no UNet, or weights are pickled and that is not allowed.
    """
    parts = [part for part, origin in index.items() if isinstance(origin, list) and origin and origin[0] is not None]
    for part in parts:
        if not part.isidentifier() or index[part][0] not in LIBRARIES:
            raise ValueError(
                f"`model.pretrained` must be a pipeline of parts of {' and '.join(LIBRARIES[:2])}, got {name!r} with the part "
                f"{part!r} of {index[part][0]!r}."
            )
    if "unet" not in parts:
        raise ValueError(
            f"`model.pretrained` must be a pipeline with a `unet`, got {name!r}, a {index.get('_class_name')} of "
            f"{', '.join(parts)}: what is guided is the bottleneck of a UNet."
        )
    for part in parts:
        if part not in without:
            _check_part(name, part, _inside(part, files), allow_pickle)


def check_model(group: str, name: str, files: Collection[str], needed: Iterable[str], allow_pickle: bool) -> None:
    """Refuse a transformers model that lacks a file or would have to be unpickled.

    Args:
        group: the option that named it, without its last part: ``encoder``.
        name: what its ``pretrained`` says.
        files: its files, as relative names.
        needed: files that must be there beside the weights.
        allow_pickle: whether pickled weights will do.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if there are pickled weights alone and that is not allowed.
    """
    for file in needed:
        if file not in files:
            raise FileNotFoundError(f"`{group}.pretrained` must be a model with a {file}, got {name!r} without one.")
    if not _has(files, ("model*.safetensors",)):
        if not _has(files, PICKLES):
            raise FileNotFoundError(
                f"`{group}.pretrained` must be a model with a model.safetensors, got {name!r} without one."
            )
        if not allow_pickle:
            raise _pickled(group, name, "the model")


def hash_files(folder: Path, patterns: Iterable[str] = (*TENSORS, *CONFIGS)) -> str:
    """Return a sha256 over the names and bytes of the files that match, in the folder and in the folders in it.

    Cards, metrics and pictures beside the weights are left out.
    """
    digest = hashlib.sha256()
    for file in sorted(files_of(folder)):
        if _has([Path(file).name], patterns) and file != "metrics.json":
            digest.update(file.encode() + bytes.fromhex(hash_file(folder / file)))
    return digest.hexdigest()


def _inside(part: str, files: Collection[str]) -> list[str]:
    """Return the names of the part's files; a UNet and its scheduler may also lie at the top."""
    own = [file.removeprefix(f"{part}/") for file in files if file.startswith(f"{part}/")]
    top = {"unet": "config.json", "scheduler": "scheduler_config.json"}.get(part)
    return own or ([file for file in files if "/" not in file] if top in files else [])


def _check_part(name: str, part: str, files: Collection[str], allow_pickle: bool) -> None:
    if not files:
        raise FileNotFoundError(
            f"`model.pretrained` must be a pipeline with all its parts, got {name!r} without {part}/."
        )
    if part in WITHOUT_WEIGHTS or _has(files, TENSORS):
        return
    if not _has(files, PICKLES):
        raise FileNotFoundError(
            f"`model.pretrained` must hold weights in {part}/, got {name!r} without a *.safetensors there."
        )
    if not allow_pickle:
        raise _pickled("model", name, part)


def _pickled(group: str, name: str, part: str) -> ValueError:
    return ValueError(
        f"`{group}.pretrained` must hold safetensors weights, got {name!r} with a pickle alone for {part}, which could run "
        f"code: {WAY_OUT.format(group=group)} if you trust it."
    )


def _has(files: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatch(Path(file).name, pattern) for file in files for pattern in patterns)
