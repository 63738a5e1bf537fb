"""Writes a file whole or not at all, without secrets, reads it back and hashes it.

Each file is written under a temporary name in its own folder, flushed, synced and renamed, so that a reader, or a
job that starts again after a kill, never sees half of one. All texts go through `selfdebias.storage.hidden` on their way.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.storage import StorageError
from selfdebias.storage.hidden import hidden, hidden_text

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY = ".writing-"
LOCK = ".lock"


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, making the folder if it is missing; an older file is replaced whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)  # synced as well, so that the rename survives a power cut
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` as UTF-8, without secrets."""
    write_bytes(path, hidden_text(text).encode())


def write_json(path: Path, obj: Any) -> None:
    """Writes `obj` as JSON with sorted keys, without secrets.

    Raises:
        ValueError: If a number in it is not finite. State `null` and a reason instead.
    """
    write_bytes(path, (json.dumps(hidden(obj), sort_keys=True, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON file that holds a dictionary.

    Raises:
        StorageError: If it is not there, cannot be read or holds something else, with one line that names it.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StorageError(f"`{path}` must be there, and is not.") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise StorageError(f"`{path}` must be a file of JSON that can be read: {reason}.") from None
    if not isinstance(found, dict):
        raise StorageError(f"`{path}` must hold a dictionary as JSON, got a {type(found).__name__}.")
    return found


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named tensors, of any dtype and shape, as one safetensors file with text metadata."""
    write_bytes(path, encode_tensors(tensors, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file by name, on the CPU, and its text metadata."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def encode_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file; the same tensors and metadata give the same bytes.

    Args:
        tensors: Copied to the CPU and made contiguous first.
        metadata: Texts by name, written in the order of their names and without secrets.
    """
    from safetensors.torch import save  # torch takes seconds to import, and texts are written without it

    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    if not metadata:
        return data
    # the library itself writes metadata in an order that differs from run to run
    size = struct.unpack("<Q", data[:8])[0]
    header = {"__metadata__": hidden(dict(sorted(metadata.items()))), **json.loads(data[8 : 8 + size])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors to 8 bytes
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def link_or_copy(source: Path, path: Path) -> None:
    """Gives a finished file a second name, or copies it where the disk cannot; an older file at `path` is replaced whole."""
    temporary = Path(path).parent / f"{TEMPORARY}{os.getpid()}-{Path(path).name}"
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        write_bytes(path, Path(source).read_bytes())
    else:
        os.replace(temporary, path)
        temporary.unlink(missing_ok=True)  # a rename onto another name of the same file leaves both


def append_line(path: Path, obj: Any) -> None:
    """Adds `obj` as one JSON line, without secrets, flushed and synced; a line torn by a kill is cut off first.

    Raises:
        ValueError: If a number in it is not finite.
    """
    path = Path(path)
    line = json.dumps(hidden(obj), sort_keys=True, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.truncate(_end_of_last_line(file))
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Any]:
    """The objects of a file of JSON lines, [] if there is none; a torn last line is left out.

    Raises:
        StorageError: If it cannot be read, or another line is no JSON.
    """
    try:
        whole, _, _torn = Path(path).read_bytes().rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines() if line]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise StorageError(f"`{path}` must be a file of JSON lines that can be read: {reason}.") from None


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


def sha256_of(path: Path) -> str:
    """The sha256 of a file, 64 hexadecimal digits, read anew at each call."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_file(path: Path) -> str:
    """`sha256_of` a file, remembered as long as size and time of change stay the same: weights are large."""
    status = path.stat()
    return _remembered(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _remembered(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)


def remove_temporaries(folder: Path) -> None:
    """Deletes what killed writers left under `folder`. Call it only while nobody writes there."""
    for path in Path(folder).rglob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


@contextmanager
def swept(folder: Path) -> Iterator[None]:
    """Deletes what killed writers left under a folder, unless another process is in this context for it.

    The lock is the operating system's, and is freed however its holder dies.
    """
    import fcntl

    with (Path(folder) / LOCK).open("a") as lock:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_temporaries(folder)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _end_of_last_line(file: Any) -> int:
    """The offset after the last newline; reads backwards, so that a long file costs one block."""
    position = file.seek(0, os.SEEK_END)
    while position > 0:
        start = max(0, position - 4096)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
