"""The folder of one stage: found again by its key, locked while it is filled, marked when it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from selfdebias.storage.atomic import remove_temporaries, write_json

MARK = "stage.json"


class StageFolder:
    """`<root>/stages/<stage>/<key>`: whatever one stage leaves behind.

    Making the object touches no disk. `stage.json` is written last and marks the folder as finished.

    Args:
        root: The root of all runs.
        stage: Name of the stage.
        key: Hash of all that the stage depends on.
    """

    def __init__(self, root: Path, stage: str, key: str) -> None:
        self.stage = stage
        self.key = key
        self.path = Path(root) / "stages" / stage / key

    @property
    def finished(self) -> bool:
        """Whether the stage was carried through to its end."""
        return (self.path / MARK).exists()

    def meta(self) -> dict[str, Any]:
        """What `finish` recorded.

        Raises:
            FileNotFoundError: If the stage is not finished.
        """
        return json.loads((self.path / MARK).read_text())

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
            print(f"{self.stage}: another job is at it, waiting for {self.path}", flush=True)
            lock.acquire()
        try:
            self.path.mkdir(exist_ok=True)
            remove_temporaries(self.path)
            yield
        finally:
            lock.release()

    def finish(self, meta: Mapping[str, Any]) -> None:
        """Marks the stage as whole; `meta` goes into `stage.json` beside its name and key."""
        write_json(self.path / MARK, {**meta, "name": self.stage, "key": self.key})
