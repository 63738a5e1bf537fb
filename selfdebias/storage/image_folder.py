"""The image files of a folder that any tool may have written, with what is known of each. Torch is not needed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdebias.storage.atomic import sha256_of
from selfdebias.storage.images import SUFFIXES, UnreadableError, read_picture_file


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

    def read(self) -> NDArray[np.uint8]:
        """The image as (H, W, 3) uint8.

        Raises:
            UnreadableError: If it cannot be read, with the reason.
        """
        return read_picture_file(self.path)

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
        self.has_manifest = any(self.path.glob("manifest-*.jsonl"))
        self.drawn_together = None if self.has_manifest else drawn_together
        self.key, self.files = _of_manifest(self.path) if self.has_manifest else ("", self._listed(drawn_together))

    def __len__(self) -> int:
        return len(self.files)

    def read(self, row: int) -> NDArray[np.uint8]:
        """The image at a place in `files`; see `ImageFile.read`."""
        return self.files[row].read()

    def check(self) -> None:
        """Refuses a folder of which no image can be read, at the cost of reading the first one that can.

        Raises:
            ValueError: With the reason for the first file.
        """
        reason = ""
        for file in self.files:
            try:
                file.read()
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
        path = self.path / "generate.json"
        return json.loads(path.read_text()) if self.has_manifest and path.exists() else {}

    @property
    def dependence(self) -> dict[str, Any]:
        """What images depend on (see `Guidance.dependence`): with a manifest as the stage noted it, else their batch."""
        if not self.has_manifest:
            return {"dependence": "batch"}
        return {"dependence": self.drawing.get("dependence", "image")}

    def _listed(self, drawn_together: int) -> list[ImageFile]:
        paths = [path for path in self.path.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir()]
        found = {path: path.relative_to(self.path) for path in paths}
        names = {
            path: it.with_suffix("").as_posix()
            for path, it in sorted(found.items())
            if not any(part.startswith(".") for part in it.parts)
        }
        if not names:
            raise ValueError(
                f"`{self.option}` must be a folder with images ({', '.join(SUFFIXES)}), got {str(self.path)!r} without any."
            )
        seen: dict[str, Path] = {}
        for path, name in names.items():
            if seen.setdefault(name, path) != path:
                raise ValueError(
                    f"`{self.option}` must be a folder of images with different names, got {seen[name].name} and "
                    f"{path.name} in {str(path.parent)!r}."
                )
        ordered = sorted(names.items(), key=lambda item: (_natural(item[1]), item[1]))
        return [
            ImageFile(path, name, place, seed_of(name), place // drawn_together)
            for place, (path, name) in enumerate(ordered)
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
    from selfdebias.storage.batches import BatchFolder  # needs torch

    folder = BatchFolder.open(path)
    files = []
    for it in folder.records():
        name = f"images/{it['id']:06d}"
        known = (it["id"], it["seed"], it["batch"], it["blanked"], it.get("prompt", ""))
        files.append(ImageFile(path / f"{name}.png", name, *known))
    return folder.config_hash, files


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
