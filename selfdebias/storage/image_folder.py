"""Folders of images: those that any tool may have written, and those that a stage filled, with the manifests it left. No torch.

A stage fills its folder batch by batch, and each batch is one line of a manifest: its images and tensors with their hashes.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdebias.storage import StorageError
from selfdebias.storage.arm_facts import check_record, read_drawing
from selfdebias.storage.atomic import read_lines, sha256_of
from selfdebias.storage.images import SUFFIXES, UnreadableError, read_picture_file

MANIFESTS = "manifest-*.jsonl"
_FILE = re.compile(r"images/\d{6,}\.png|batch-\d{5,}(-\d+of\d+)?\.safetensors")


@dataclass(frozen=True)
class ImageFile:
    """One image file.

    Args:
        path: Where it is.
        name: Its path inside the folder, without the suffix; images of two folders with the same name are paired samples.
        id: Its place in the folder, from 0; with a manifest, its id there.
        seed: With a manifest, the seed that it was sampled from; else `seed_of(name)`.
        batch: Images of one batch depend on each other.
        blanked: Whether it was flagged by the safety checker, which replaced it; None where nothing says so.
        prompt: What it was asked for, "" where nothing says so.
    """

    path: Path
    name: str
    id: int
    seed: int
    batch: int
    blanked: bool | None = None
    prompt: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of it, as the records of a manifest have it."""
        return {name: getattr(self, name) for name in ("id", "seed", "prompt", "batch", "blanked")}


class ImageFolder:
    """All image files below a folder, in the order of their names, numbers in them as numbers.

    Hidden files and folders are left out. Where a stage of ours left a manifest, it says which images there are, and
    their seeds and batches. Making the object lists the folder and reads no image.

    Args:
        path: The folder.
        option: What named it, for messages.
        drawn_together: Images, in the order of their names, that were sampled as one batch, at least 1; a manifest
            knows better.

    Raises:
        ValueError: If there is no such folder, it holds no image file, or two of one name.
    """

    def __init__(self, path: Path, option: str = "path", drawn_together: int = 1) -> None:
        self.path, self.option = Path(path), option
        if not self.path.is_dir():
            what = "which is a file" if self.path.exists() else "which does not exist"
            raise ValueError(f"`{option}` must be a folder of images, got {str(path)!r}, {what}.")
        self.has_manifest = any(self.path.glob(MANIFESTS))
        self.drawn_together = None if self.has_manifest else drawn_together
        self.key, self.files = _of_manifest(self.path) if self.has_manifest else ("", self._listed(drawn_together))

    def __len__(self) -> int:
        return len(self.files)

    def read(self, row: int) -> NDArray[np.uint8]:
        """The image at a place in `files`, (H, W, 3) uint8.

        Raises:
            UnreadableError: If it cannot be read, with the reason.
        """
        return read_picture_file(self.files[row].path)

    def check(self) -> None:
        """Refuses a folder of which no image can be read, at the cost of reading the first one that can.

        Raises:
            ValueError: With the reason for the first file, or where what a stage noted of the arm is damaged.
        """
        reason, _ = "", self.drawing
        for row, file in enumerate(self.files):
            try:
                self.read(row)
                return
            except UnreadableError as error:
                reason = reason or f"{file.path.name}: {error}"
        raise ValueError(
            f"`{self.option}` must hold an image that can be read, got {str(self.path)!r}, where none of {len(self)} "
            f"can; {reason}."
        )

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the names and bytes of all image files."""
        lines = sorted(f"{self.relative(file)} {_hash(file.path)}" for file in self.files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @cached_property
    def drawing(self) -> dict[str, Any]:
        """What our generate stage noted of the arm's guidance and cost; empty for other folders."""
        return read_drawing(self.path / "generate.json") if self.has_manifest else {}

    @property
    def dependence(self) -> dict[str, Any]:
        """What images depend on (see `Guidance.dependence`): with a manifest as the stage noted it, else their batch."""
        return {"dependence": self.drawing.get("dependence", "image") if self.has_manifest else "batch"}

    def _listed(self, drawn_together: int) -> list[ImageFile]:
        files: dict[str, Path] = {}
        for path in sorted(self.path.rglob("*")):
            inside = path.relative_to(self.path)
            hidden = any(part.startswith(".") for part in inside.parts)
            if hidden or path.suffix.lower() not in SUFFIXES or path.is_dir():
                continue
            first = files.setdefault(inside.with_suffix("").as_posix(), path)
            if first != path:
                raise ValueError(
                    f"`{self.option}` must be a folder of images with different names, got {first.name} and {path.name} in "
                    f"{str(path.parent)!r}."
                )
        if not files:
            raise ValueError(
                f"`{self.option}` must be a folder with images ({', '.join(SUFFIXES)}), got {str(self.path)!r} without any."
            )
        return [
            ImageFile(files[name], name, place, seed_of(name), place // drawn_together)
            for place, name in enumerate(sorted(files, key=lambda name: (_natural(name), name)))
        ]

    def relative(self, file: ImageFile) -> str:
        """The path of a file inside the folder."""
        return file.path.relative_to(self.path).as_posix()


def seed_of(name: str) -> int:
    """A number in [0, 2^64) that stands for a name, where images have no seed.

    Example:
        >>> seed_of("0001") == seed_of("0001"), seed_of("0001") == seed_of("0002")
        (True, False)
    """
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8])


def _of_manifest(path: Path) -> tuple[str, list[ImageFile]]:
    """Key and images of a folder that one of our stages filled."""
    key, files = key_of(path), []
    records = [record for line in read_manifests(path, key) for record in line["records"]]
    for it in sorted(records, key=lambda record: record["id"]):
        check_record(it, path)
        known = (it["id"], it["seed"], it["batch"], it["blanked"], it.get("prompt", ""))
        files.append(ImageFile(path / f"images/{it['id']:06d}.png", f"images/{it['id']:06d}", *known))
    return key, files


def _natural(name: str) -> list[str | int]:
    """Sorts 2 before 10.

    Example:
        >>> sorted(["b10", "b2", "a"], key=_natural)
        ['a', 'b2', 'b10']
    """
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", name))]


def _hash(path: Path) -> str:
    try:
        return sha256_of(path) if path.is_file() else "no file"
    except OSError as error:  # such a file is skipped, and that is part of the outcome
        return error.strerror or type(error).__name__


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
    for i, times in Counter(i for line in lines.values() for i in line["ids"]).items():
        if times > 1:
            raise StorageError(f"{folder} must hold each image once, got {i} twice: delete {folder}.")
    return [lines[place] for place in sorted(lines)]


def key_of(folder: Path) -> str:
    """The key of the stage that filled a folder; a StorageError if it holds no batch, or as `read_manifests` raises it."""
    for line in read_manifests(folder):
        return str(line["config_hash"])
    raise StorageError(f"`{folder}` must be a folder that holds a batch, and holds none.")


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
