"""Reads what an offline W&B run holds, record by record."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7  # bytes; of a block, of the file's and of each chunk's header


class OfflineRun:
    """One `.wandb` file; W&B's own process may still be writing it when the run is finished."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records = _whole(file)

    @property
    def id(self) -> str:
        """The run's id."""
        return self._first("run").run_id

    @property
    def run(self) -> Any:
        """The record of the run: `project`, `run_group`, `sweep_id`."""
        return self._first("run")

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as logged."""
        updates = [it.config if it.HasField("config") else it.run.config for it in self.records]
        return {item.key: json.loads(item.value_json) for update in updates for item in update.update}

    @property
    def summary(self) -> dict[str, Any]:
        """The run's summary."""
        found = [item for it in self.records if it.HasField("summary") for item in it.summary.update]
        return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in found}

    @property
    def history(self) -> list[dict[str, Any]]:
        """Each call of `log`."""
        lines = [it.history.item for it in self.records if it.HasField("history")]
        return [{"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items} for items in lines]

    @property
    def artifacts(self) -> list[Any]:
        """Each artifact of the job, with `name`, `type`, `metadata` (JSON) and `manifest`; tables are logged as such too."""
        found = [it.request.log_artifact.artifact for it in self.records if it.HasField("request")]
        found += [it.artifact for it in self.records if it.HasField("artifact")]
        return [it for it in found if it.name and it.type != "run_table"]

    def table(self, name: str) -> dict[str, Any]:
        """The `columns` and `data` of a table."""
        (path,) = [line[f"{name}/path"] for line in self.history if f"{name}/path" in line]
        return json.loads((self.file.parent / "files" / path).read_text())

    def _first(self, kind: str) -> Any:
        return next(getattr(it, kind) for it in self.records if it.HasField(kind))


def offline_runs(root: Path) -> list[OfflineRun]:
    """All runs below a folder, oldest first."""
    return [OfflineRun(path) for path in sorted(root.rglob("*.wandb"), key=lambda path: path.stat().st_mtime)]


def _whole(file: Path, seconds: float = 20) -> list[Record]:
    for _ in range(int(10 * seconds)):
        records = [Record.FromString(data) for data in _chunks(file.read_bytes())]
        if any(it.HasField("exit") for it in records):
            return records
        time.sleep(0.1)
    raise AssertionError(f"W&B did not end {file} in {seconds} s")


def _chunks(data: bytes) -> Iterator[bytes]:
    """Joins chunks to whole records; each has a checksum (4 bytes), length (2) and place (1 whole, 2 first, 3 middle, 4 last)."""
    at, joined = HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, place = struct.unpack_from("<HB", data, at + 4)
        if at + HEADER + length > len(data):
            return  # the rest is not written yet
        joined += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if place in (1, 4):
            yield joined
            joined = b""
