"""Loads pretrained parts whole: what a library would fill with random numbers, or fail at with a traceback, is one clear line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfdebias.config.rules import ConfigError

REASON = 300  # characters of a library's message that are shown


@contextmanager
def one_line(option: str, name: str) -> Iterator[None]:
    """Turns what a library says of weights that it cannot load into one line.

    Args:
        option: that named them, such as ``model.pretrained``.
        name: what it says.

    Raises:
        ConfigError: in place of any other exception of the body.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[0].split())[:REASON] if lines else ""
        raise ConfigError(
            f"`{option}` must be a model that can be loaded, got {name!r}: {type(error).__name__}{f', {reason}' if reason else ''}"
        ) from error


def load_whole(model_class: Any, folder: Path, option: str, name: str, **options: Any) -> Any:
    """Load a model of transformers, all of whose tensors have to be in its files.

    Args:
        model_class: with transformers' ``from_pretrained``.
        folder: of the model.
        option, name: as in `one_line`, for messages.
        options: of ``from_pretrained``.

    Raises:
        ConfigError: if a tensor is missing or of another shape, which transformers would fill with random numbers.
    """
    with one_line(option, name):
        model, info = model_class.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True, **options
        )
    mismatched = [item[0] if isinstance(item, tuple) else item for item in info["mismatched_keys"]]
    _refuse(option, name, type(model).__name__, sorted(info["missing_keys"]), sorted(mismatched))
    return model


def load_parts(
    folder: Path, index: Mapping[str, Any], without: Collection[str], option: str, name: str, variant: str | None, **options: Any
) -> dict[str, Any]:  # fmt: skip
    """Load those parts of a diffusers pipeline that are models of transformers; diffusers itself checks the others.

    Args:
        folder: of the pipeline.
        index: content of its ``model_index.json``.
        without: parts that are left out.
        option, name: as in `one_line`.
        variant: such as ``fp16``, used for the parts that have it.
        options: of transformers' ``from_pretrained``.

    Returns:
        The models by part, as ``from_pretrained`` of the pipeline takes them.
    """
    import transformers

    found = {}
    for part, origin in index.items():
        if (
            part in without
            or not isinstance(origin, list)
            or origin[0] != "transformers"
            or not isinstance(origin[1], str)
        ):
            continue
        model_class = getattr(transformers, origin[1], None)
        if isinstance(model_class, type) and issubclass(model_class, transformers.PreTrainedModel):
            own = variant if variant and any((folder / part).glob(f"*.{variant}.*")) else None
            found[part] = load_whole(model_class, folder / part, option, f"{name}/{part}", variant=own, **options)
    return found


def refuse_empty(pipeline: Any, option: str, name: str) -> None:
    """Refuse a pipeline of which some tensors were in no file, so that they hold nothing.

    Raises:
        ConfigError: with the first of them.
    """
    for part, module in pipeline.components.items():
        if hasattr(module, "named_parameters"):
            empty = sorted(key for key, value in module.named_parameters() if value.is_meta)
            _refuse(option, name, f"its {part}", empty, [])


def _refuse(option: str, name: str, what: str, missing: list[str], mismatched: list[str]) -> None:
    if missing or mismatched:
        how = f"without {len(missing)} of them" if missing else f"with {len(mismatched)} of another shape"
        raise ConfigError(
            f"`{option}` must hold all tensors of {what}, got {name!r} {how}, such as {(missing or mismatched)[0]}: fetch the "
            f"model again."
        )
