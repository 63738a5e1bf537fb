"""The manifests of a folder that is filled batch by batch: which images and tensors it holds, with their hashes. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.storage import StorageError
from selfdebias.storage.atomic import read_lines

MANIFESTS = "manifest-*.jsonl"
_FILE = re.compile(r"images/\d{6,}\.png|batch-\d{5,}(-\d+of\d+)?\.safetensors")


def read_manifests(folder: Path, config_hash: str | None = None) -> list[dict[str, Any]]:
    """Reads the lines of all manifests of a folder, by batch and part; a later line replaces one of a damaged batch.

    Args:
        folder: The folder; one without a manifest has no lines.
        config_hash: Key that each line must have; None takes any.

    Returns:
        For each part of a batch `batch`, `ids`, `records`, `files` (sha256 by relative name), `config_hash`, and where it has
        several parts `part`, `parts` and `along`.

    Raises:
        StorageError: If a line is damaged, names a file outside of the folder or has another key, or an image id is in two batches.
    """
    lines: dict[tuple[int, int], dict[str, Any]] = {}
    for manifest in sorted(Path(folder).glob(MANIFESTS)):
        for line in read_lines(manifest):
            _check(line, manifest)
            if config_hash is not None and line["config_hash"] != config_hash:
                raise StorageError(
                    f"`config_hash` must be {line['config_hash']}, that of {folder}, got {config_hash}: the folder belongs to "
                    f"another configuration; move it away."
                )
            lines[place_of(line)] = line
    seen: set[int] = set()
    for line in lines.values():
        for i in line["ids"]:
            if i in seen:
                raise StorageError(f"{folder} must hold each image once, got {i} twice: delete {folder}.")
            seen.add(i)
    return [line for _, line in sorted(lines.items())]


def files_of_batches(folder: Path) -> dict[str, str]:
    """The sha256 of each file that the manifests of a folder name, by relative name; raises as `read_manifests` does."""
    return {name: sha256 for line in read_manifests(folder) for name, sha256 in line["files"].items()}


def place_of(line: Mapping[str, Any]) -> tuple[int, int]:
    """The batch of a line, and the part of it."""
    return line["batch"], line.get("part", 0)


def _check(line: Any, manifest: Path) -> None:
    """Refuses a line that no stage wrote."""
    try:
        ids, records = line["ids"], line["records"]
        whole = all(type(i) is int and i >= 0 for i in (line["batch"], line.get("part", 0), line.get("parts", 1), *ids))
        named = all(_FILE.fullmatch(name) and isinstance(sha256, str) for name, sha256 in line["files"].items())
        noted = [record["id"] for record in records] == ids and isinstance(line["config_hash"], str)
    except (TypeError, KeyError, AttributeError):
        whole = named = noted = False
    if not (whole and named and noted):
        raise StorageError(f"`{manifest}` must list images and tensors of its own folder, got a line that does not.")
