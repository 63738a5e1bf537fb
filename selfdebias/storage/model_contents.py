"""What the files of a model's folder name must lie in that folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfdebias.storage.atomic import check_inside, read_json
from selfdebias.storage.model_files import files_of


def check_contents(option: str, folder: Path) -> None:
    """Refuse a model's folder that leads out of itself: by links, by file names in its indices and tokenizers, or by an adapter.

    An ``adapter_config.json`` names another model, which `transformers` would load, and a ``transformers_weights`` another file.

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
        if Path(file).name == "adapter_config.json":
            raise ValueError(
                f"`{option}` must be a whole model, got an adapter's {folder / file}: load it with its model, merge it, and save "
                f"what comes of it."
            )
        if Path(file).name == "config.json":
            named = [read_json(folder / file).get("transformers_weights")]
        elif file.endswith(".index.json"):
            named = [*(read_json(folder / file).get("weight_map") or {}).values()]
        elif Path(file).name == "tokenizer_config.json":
            named = [value for key, value in read_json(folder / file).items() if key.endswith("_file")]
        for name in named:
            if name is not None and (not isinstance(name, str) or Path(name).name != name):
                raise ValueError(
                    f"`{option}` must name files of its own folders, got {str(name)!r} in {folder / file}."
                )
