"""What a generate stage notes of its images and of its arm, read from a folder that may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.storage import StorageError
from selfdebias.storage.atomic import read_json

DEPENDENCES = ("image", "batch", "run")
_NUMBERS = (
    "edited", "guidance_share", "peak_memory_mb", "processes", "rows_per_image", "seconds_per_image", "skipped_edits",
    "timed_images",
)  # fmt: skip


def read_drawing(path: Path) -> dict[str, Any]:
    """What `generate.json` says of an arm; empty where there is no such file.

    Raises:
        StorageError: If it is damaged, or says something that no stage writes.
    """
    if not path.exists():
        return {}
    found = read_json(path)
    rules: dict[str, Any] = {
        "dependence": lambda it: it in DEPENDENCES,
        "told": lambda it: isinstance(it, str),
        "guidance": _is_guidance,
        **dict.fromkeys(_NUMBERS, lambda it: it is None or type(it) in (int, float)),
    }
    for name, right in rules.items():
        if name in found and not right(found[name]):
            raise StorageError(
                f"`{name}` in {path} must be as a generate stage writes it, got {found[name]!r}: sample anew."
            )
    return found


def _is_guidance(found: Any) -> bool:
    """Whether it is a mapping whose target is shares and whose axes are numbers, if it has these."""
    if not isinstance(found, Mapping):
        return False
    lists = [found.get(name) for name in ("target", "axes")]
    return all(it is None or (isinstance(it, list) and all(type(x) in (int, float) for x in it)) for it in lists)


def check_record(record: Mapping[str, Any], path: Path) -> None:
    """Refuse a record of an image that no stage wrote.

    Raises:
        StorageError: If it lacks a fact, or has one of another type.
    """
    rules = {"id": int, "seed": int, "batch": int, "blanked": bool | None, "prompt": str}
    for name, kind in rules.items():
        value = record.get(name, "") if name == "prompt" else record.get(name, ...)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            said = "none" if value is ... else repr(value)
            raise StorageError(
                f"`{name}` of each image in the manifest of {path} must be as a stage writes it, got {said}."
            )
