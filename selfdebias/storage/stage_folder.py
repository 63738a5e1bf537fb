"""The folder of one stage: found again by its key, locked while it is filled, marked when it is whole, checked when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from selfdebias.storage import StorageError
from selfdebias.storage.atomic import TEMPORARY, hash_file, read_json, remove_temporaries, write_json
from selfdebias.storage.image_folder import MANIFESTS, files_of_batches, read_manifests

MARK = "stage.json"
TIMED = ("collect.json", "generate.json")  # they state seconds, so that they differ where all else is the same
_said: set[Path] = set()  # roots of which it was said that stages of earlier versions are not checked


class StageFolder:
    """`<root>/stages/<stage>/<key>`: whatever one stage leaves behind.

    Making the object touches no disk. `stage.json` is written last and marks the folder as finished. It holds the sha256 of each
    file that the stage left; those of images and tensors of batches stand in the manifest, whose own is there.

    Args:
        root: The root of all runs.
        stage: Name of the stage.
        key: Hash of all that the stage depends on.
        n_images: How many images were asked for, with the ids 0, 1, ...; None for a stage that samples none.
    """

    def __init__(self, root: Path, stage: str, key: str, n_images: int | None = None) -> None:
        self.stage, self.key, self.n_images = stage, key, n_images
        self.path = Path(root) / "stages" / stage / key

    @property
    def place(self) -> str:
        """The stage and its key, as its folder under the root is called."""
        return f"{self.stage}/{self.key}"

    @property
    def finished(self) -> bool:
        """Whether the stage was carried through to its end; `check` says whether all that it left is still there."""
        return (self.path / MARK).exists()

    def meta(self) -> dict[str, Any]:
        """What `finish` recorded.

        Raises:
            StorageError: If the stage is not finished, or its mark is damaged.
        """
        try:
            return read_json(self.path / MARK)
        except StorageError as error:
            raise StorageError(f"{str(error).rstrip('.')}; {self._way_out()}.") from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the stage for one process; waits for another job that has it, and says so once.

        The lock is the operating system's: it is freed when its holder dies, however it dies.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.parent / f"{self.key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{self.stage}: locked by another job, waiting for {self.path}", flush=True)
            lock.acquire()
        try:
            self.path.mkdir(exist_ok=True)
            remove_temporaries(self.path)
            yield
        finally:
            lock.release()

    def finish(self, meta: Mapping[str, Any], read: Mapping[str, str] | None = None) -> None:
        """Marks the stage as whole.

        Args:
            meta: Goes into `stage.json` beside the stage's name and key, and the hashes.
            read: What `content` said of the folders that the stage has read, by their `place`.

        Raises:
            StorageError: If the folder holds other images than were asked for. It is then left unfinished.
        """
        self._check_ids()
        files = {name: hash_file(self.path / name) for name in _left(self.path)}
        # images and tensors are part of the content; a manifest has them in any order, and other files state seconds
        lasting = {name: it for name, it in files.items() if name not in TIMED and not Path(name).match(MANIFESTS)}
        content = json.dumps({**lasting, **files_of_batches(self.path)}, sort_keys=True)
        mark = {"name": self.stage, "key": self.key, "files": files, "read": dict(read or {})}
        write_json(self.path / MARK, {**meta, **mark, "content": hashlib.sha256(content.encode()).hexdigest()})

    def content(self) -> str:
        """A hash of what the stage left, the same where it left the same; "" for a stage of an earlier version."""
        return str(self.meta().get("content", ""))

    def check(self, read: Mapping[str, str] | None = None) -> None:
        """Checks that a finished stage is what it was when it was finished; images and tensors are checked when they are read.

        A stage of an earlier version, without hashes, is checked by its ids and by whether its files can be read.

        Args:
            read: As in `finish`; None where it is not known.

        Raises:
            StorageError: With one line: the file, what is wrong, and what to delete.
        """
        meta = self.meta()
        if (meta.get("name"), meta.get("key")) != (self.stage, self.key):
            raise StorageError(f"`{self.path / MARK}` must be that of {self.stage} {self.key}: {self._way_out()}.")
        check_left(self.path, meta, self._way_out())
        self._check_ids()
        for place, content in (meta.get("read") or {}).items():
            now = (read or {}).get(place)
            if content and now and content != now:
                raise StorageError(
                    f"{self.path} was made before {place} was made anew, with other results: "
                    f"delete {', '.join(map(str, self._stale(place, now)))} and give the same command again."
                )

    def _stale(self, place: str, content: str) -> list[Path]:
        """This folder and all others that were made from other contents of `place`, or from one that was."""
        marks = {mark.parent: read_json(mark).get("read") or {} for mark in self.path.parents[1].glob(f"*/*/{MARK}")}
        stale = {it for it, read in marks.items() if read.get(place, content) != content}
        while (
            more := {it for it, read in marks.items() if {"/".join(old.parts[-2:]) for old in stale} & {*read}} - stale
        ):
            stale |= more
        return sorted(stale)

    def _check_ids(self) -> None:
        if self.n_images is None:
            return
        ids = sorted(i for line in read_manifests(self.path) for i in line["ids"])
        if ids != list(range(self.n_images)):
            raise StorageError(
                f"{self.path} must hold the {self.n_images} images that were asked for, got {len(ids)}: {self._way_out()}."
            )

    def _way_out(self) -> str:
        return f"delete {self.path} and give the same command again"


def check_left(folder: Path, meta: Mapping[str, Any] | None = None, way_out: str = "copy the folder again") -> None:
    """Checks what a stage left against the hashes in its `stage.json`; nothing is checked where there is none.

    Args:
        folder: The stage's folder.
        meta: The contents of `stage.json`; None reads it.
        way_out: What to do about a damaged file.

    Raises:
        StorageError: With the first file that is missing or another one.
    """
    if meta is None:
        if not (folder / MARK).exists():
            return
        meta = read_json(folder / MARK)
    if isinstance(meta.get("files"), Mapping):
        _check_hashed(folder, meta["files"], way_out)
    else:
        _check_unhashed(folder, way_out)
    for name in files_of_batches(folder):
        if not (folder / name).is_file():
            raise StorageError(f"`{folder / name}` must be there, and is not: {way_out}.")


def _check_hashed(folder: Path, files: Mapping[str, Any], way_out: str) -> None:
    """Checks that the files which the mark names are there with their hashes, and no other manifest is."""
    manifests = {name for name in files if Path(name).match(MANIFESTS)}
    if {path.name for path in folder.glob(MANIFESTS)} != manifests:
        raise StorageError(f"{folder} must hold the manifests that its {MARK} names, got others: {way_out}.")
    for name, sha256 in files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise StorageError(f"`{folder / MARK}` must name files of its folder, got {name!r}: {way_out}.")
        if not path.is_file():
            raise StorageError(f"`{path}` must be there, and is not: {way_out}.")
        if hash_file(path) != sha256:
            raise StorageError(
                f"`{path}` must have the sha256 {str(sha256)[:12]}..., got another: it was changed; {way_out}."
            )


def _check_unhashed(folder: Path, way_out: str) -> None:
    """Checks what can be checked of a stage that left no hashes, and says so once a root."""
    root = folder.parents[2] if len(folder.parents) > 2 else folder
    if root not in _said:
        _said.add(root)
        print(f"{root}: stages of an earlier version left no hashes, and are not checked", flush=True)
    for name in _left(folder):
        path = folder / name
        try:
            if path.suffix == ".json" and name != MARK:
                read_json(path)
            elif path.suffix == ".safetensors":
                read_header(path)
        except StorageError as error:
            raise StorageError(f"{str(error).rstrip('.')}; {way_out}.") from None


def read_header(path: Path) -> dict[str, Any]:
    """Reads the header of a safetensors file: a dictionary of dtype, shape and offsets by tensor.

    Raises:
        StorageError: If it is cut, or no such file.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if 0 < size <= path.stat().st_size - 8 else None
            ends = [it["data_offsets"][1] for name, it in (header or {}).items() if name != "__metadata__"]
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        header = None
    if not isinstance(header, dict) or 8 + size + max(ends, default=0) != path.stat().st_size:
        raise StorageError(f"`{path}` must be a whole safetensors file, and is not.")
    return header


def _left(folder: Path) -> list[str]:
    """The files that a stage left, as relative names, without the mark, and without those that its manifest names."""
    named = set(files_of_batches(folder))
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(TEMPORARY)]
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) not in {MARK, *named})
