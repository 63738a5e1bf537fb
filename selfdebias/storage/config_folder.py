"""The folder of a pipeline that says how the parts of a single file of weights are configured."""

from __future__ import annotations

from pathlib import Path

from selfdebias.storage import model_files
from selfdebias.storage.atomic import read_json
from selfdebias.storage.model_contents import check_contents


def check_config(option: str, folder: Path, allow_pickle: bool, denoiser: str) -> None:
    """Refuse what is no pipeline's folder, and what could run code: parts of other libraries, and pickles.

    Args:
        option: that named it, such as ``model.config``.
        folder: the folder; its parts need no weights.
        allow_pickle: whether pickled weights will do.
        denoiser: `unet` or `transformer`.

    Raises:
        ValueError: if it is such a folder.
    """
    if not (folder / "model_index.json").is_file():
        raise ValueError(
            f"`{option}` must be the folder of a pipeline, with a model_index.json, got {str(folder)!r}: download it first."
        )
    check_contents(option, folder)
    files, index = model_files.files_of(folder), read_json(folder / "model_index.json")
    try:
        model_files.check_pipeline(str(folder), index, files, allow_pickle, [*index], denoiser)
    except ValueError as error:
        raise ValueError(str(error).replace("model.pretrained", option)) from None
    pickles = [file for file in sorted(files) if any(Path(file).match(pattern) for pattern in model_files.PICKLES)]
    if pickles and not allow_pickle:
        group = option.partition(".")[0]
        raise ValueError(
            f"`{option}` must be a folder without pickles, which could run code, got {pickles[0]} in {str(folder)!r}: set "
            f"{group}.allow_pickle=true if you trust it."
        )


def hash_config(folder: Path) -> str:
    """Return a hash of what is loaded from it."""
    return model_files.hash_files(folder, (*model_files.TENSORS, *model_files.CONFIGS, *model_files.PICKLES))
