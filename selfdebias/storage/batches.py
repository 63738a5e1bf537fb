"""A folder of images and tensors that is filled batch by batch and can be resumed after a kill.

One batch is its PNG files, one safetensors file, and then, last, one line of the manifest that lists them with their
hashes. So a batch exists exactly when its line does. Several processes that draw a batch together each write a part of it,
with a line in a manifest of their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor

from selfdebias.storage import StorageError
from selfdebias.storage.atomic import append_line, encode_tensors, sha256_of, write_bytes, write_text
from selfdebias.storage.image_folder import MANIFESTS, key_of, place_of, read_manifests
from selfdebias.storage.images import encode_png, read_picture, to_tensor
from selfdebias.storage.tensor_rows import StoredTensor, TensorRows


class BatchFolder:
    """Images, tensors and records of a stage, by batch.

    Args:
        path: The folder; made with the first batch.
        config_hash: Key of the stage that fills it.
        rank: Index of the process; each one writes a manifest of its own, and everyone reads all of them.

    Raises:
        ValueError: If the folder holds batches of another key, or one image id in two batches.
    """

    def __init__(self, path: Path, config_hash: str, rank: int = 0) -> None:
        self.path = Path(path)
        self.config_hash = config_hash
        self.rank = rank
        self._lines: dict[tuple[int, int], dict[str, Any]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Reads what other processes have written since."""
        self._lines = {place_of(line): line for line in read_manifests(self.path, self.config_hash)}

    @classmethod
    def open(cls, path: Path) -> BatchFolder:
        """A filled folder, for reading, under whatever key it was filled.

        Raises:
            ValueError: If it holds no batch, or batches of several keys.
        """
        return cls(path, key_of(path))

    @property
    def finished(self) -> set[int]:
        """Batches that are there in full: the lines of all parts exist, and each of their files with the recorded hash."""
        return {
            batch
            for batch, lines in self._batches().items()
            if {line.get("parts", 1) for line in lines} == {len(lines)} and all(map(self._is_whole, lines))
        }

    def merge(self) -> None:
        """Gathers the manifests of all processes in one, without what belongs to batches that are not finished.

        Call it only while nobody writes.
        """
        self.refresh()
        finished = self.finished
        kept = {place: line for place, line in self._lines.items() if place[0] in finished}
        manifests = sorted(self.path.glob(MANIFESTS))
        first = self.path / "manifest-0.jsonl"
        if len(kept) == len(self._lines) and manifests in ([], [first]):
            return
        lines = [json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for _, line in sorted(kept.items())]
        write_text(first, "".join(lines))
        for manifest in manifests:
            if manifest != first:
                manifest.unlink()
        for place in self._lines.keys() - kept.keys():
            (self.path / _shard(self._lines[place])).unlink(missing_ok=True)
        self._lines = kept

    def add(
        self,
        batch: int,
        ids: Sequence[int],
        images: Tensor | None,
        tensors: Mapping[str, Tensor],
        records: Sequence[Mapping[str, Any]],
        part: tuple[int, int] = (0, 1),
        along: Mapping[str, int] | None = None,
    ) -> None:
        """Stores one batch, or a part of it; one that is there but damaged is replaced.

        Args:
            batch: Index of the batch.
            ids: The B image ids, each new to the folder.
            images: (B, 3, H, W) float in [0, 1], or None to store no image.
            tensors: Named tensors of any shape.
            records: B JSON objects, what is known about each image.
            part: Which part of the batch it is, from 0, and how many there are.
            along: Axis of the images, by name, of tensors that parts have for their own images; others are the same in all.

        Raises:
            ValueError: If the counts differ, or an id or the batch is already there.
        """
        ids = [int(i) for i in ids]
        self._check_new((batch, part[0]), ids, images, records)
        pairs = [] if images is None else zip(ids, images, strict=True)
        files = {f"images/{i:06d}.png": encode_png(image) for i, image in pairs}
        line: dict[str, Any] = {"batch": batch, "ids": ids}
        if part[1] > 1:
            line |= {"part": part[0], "parts": part[1], "along": dict(along or {})}
        files[_shard(line)] = encode_tensors(tensors, {"config_hash": self.config_hash})
        for name, data in files.items():
            write_bytes(self.path / name, data)
        line |= {
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
            "records": [{**record, "id": i} for i, record in zip(ids, records, strict=True)],
            "config_hash": self.config_hash,
        }
        append_line(self.path / f"manifest-{self.rank}.jsonl", line)
        self._lines[place_of(line)] = line

    def ids(self) -> list[int]:
        """Ids of all images, sorted."""
        return sorted(i for line in self._lines.values() for i in line["ids"])

    def records(self) -> list[dict[str, Any]]:
        """What is known about each image, in id order; each has its "id"."""
        return sorted((r for line in self._lines.values() for r in line["records"]), key=lambda record: record["id"])

    def images(self, ids: Sequence[int] | None = None) -> Tensor:
        """Images (N, 3, H, W) float32 in [0, 1], in the order of `ids`; all of them, by id, if it is None.

        Raises:
            ValueError: If an id is not there, or its file is not what was written.
        """
        places = {i: line for line in self._lines.values() for i in line["ids"]}
        wanted = self.ids() if ids is None else [int(i) for i in ids]
        missing = [i for i in wanted if i not in places]
        if missing or not wanted:
            raise ValueError(f"`ids` must be ids of images in {self.path}, got {missing[0] if missing else 'none'}.")
        files = [self._checked(places[i], f"images/{i:06d}.png") for i in wanted]
        return torch.stack([to_tensor(read_picture(file.read_bytes())) for file in files])

    def tensors(self, names: Sequence[str] | None = None) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Yields (batch, its named tensors) by batch index, one at a time.

        Args:
            names: Reads these tensors alone; None reads all.

        Raises:
            ValueError: If a file is not what was written.
        """
        for batch, lines in self._batches().items():
            yield batch, self._join(lines, names)

    def rows(self, batch: int, name: str) -> TensorRows:
        """The rows of a tensor of one batch, those of its parts one below the other, without reading or checking them.

        Args:
            batch: Index of the batch.
            name: Of a tensor with the images along its first axis.
        """
        return TensorRows([StoredTensor.find(self.path / _shard(line), name) for line in self._batches()[batch]])

    def tensors_of(self, batch: int) -> dict[str, Tensor]:
        """The named tensors of one batch, those of its parts put together.

        Raises:
            ValueError: If the batch is not there, or a file is not what was written.
        """
        lines = self._batches().get(batch)
        if lines is None:
            raise ValueError(f"`batch` must be a batch of {self.path}, got {batch}.")
        return self._join(lines)

    def _batches(self) -> dict[int, list[dict[str, Any]]]:
        """The lines of each batch in the order of its parts, by batch."""
        batches: dict[int, list[dict[str, Any]]] = {}
        for (batch, _), line in sorted(self._lines.items()):
            batches.setdefault(batch, []).append(line)
        return batches

    def _join(self, lines: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> dict[str, Tensor]:
        parts = [self._tensors(line, names) for line in lines]
        along = lines[0].get("along", {})
        return {
            name: torch.cat([part[name] for part in parts], dim=along[name]) if name in along else tensor
            for name, tensor in parts[0].items()
        }

    def _tensors(self, line: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, Tensor]:
        """The tensors of a file, or those of these names that it has, without holding the others in memory."""
        path = self._checked(line, _shard(line))
        if names is None:
            return load(path.read_bytes())
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in names if name in file.keys()}  # noqa: SIM118

    def _check_new(self, place: tuple[int, int], ids: list[int], images: Tensor | None, records: Sequence[Any]) -> None:
        if images is not None and len(images) != len(ids):
            raise ValueError(f"`images` must be one for each of {len(ids)} ids, got {len(images)}.")
        if len(records) != len(ids):
            raise ValueError(f"`records` must be one for each of {len(ids)} ids, got {len(records)}.")
        if place in self._lines and self._is_whole(self._lines[place]):
            raise ValueError(f"`batch` must be new to {self.path}, got {place[0]}.")
        known = {i for other, line in self._lines.items() if other != place for i in line["ids"]}
        for i in ids:
            if i in known:
                raise ValueError(f"`ids` must be new to {self.path}, got {i} twice.")
            known.add(i)

    def _is_whole(self, line: Mapping[str, Any]) -> bool:
        files = ((self.path / name, sha256) for name, sha256 in line["files"].items())
        return all(path.exists() and sha256_of(path) == sha256 for path, sha256 in files)

    def _checked(self, line: Mapping[str, Any], name: str) -> Path:
        """The path of a file, after its hash was compared."""
        if name not in line["files"]:
            raise ValueError(f"`{name}` must be stored in {self.path}, but batch {line['batch']} was added without it.")
        path, sha256 = self.path / name, line["files"][name]
        way_out = f"delete {self.path} and give the same command again"
        if not path.is_file():
            raise StorageError(f"`{name}` must be stored in {self.path}, but the file is gone: {way_out}.")
        if sha256_of(path) != sha256:
            raise StorageError(
                f"`{name}` must have sha256 {sha256[:12]}..., got another: {path} was changed; {way_out}."
            )
        return path


def _shard(line: Mapping[str, Any]) -> str:
    """The name of the tensor file of a batch, or of a part of it."""
    part = f"-{line['part']}of{line['parts']}" if "parts" in line else ""
    return f"batch-{line['batch']:05d}{part}.safetensors"
