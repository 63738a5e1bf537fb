"""What evaluation knows about the images of one arm: one row an image, on disk and in memory, and pooled over runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from selfdebias.config.prompts import CROSS
from selfdebias.judges import classify
from selfdebias.storage.atomic import read_tensors, write_tensors

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
_PREFIX, _SPACE = "probabilities/", "spaces/"


class Placed(NamedTuple):
    """Embeddings `e`, (N, d), with the mode that each falls in, `modes`, (N,) int64."""

    e: Array
    modes: Integers

    def inside(self, mode: int) -> Array:
        """Return the embeddings of one mode."""
        return self.e[self.modes == mode]


@dataclass(frozen=True)
class ArmData:
    """The images of one arm, N rows in a fixed order.

    Args:
        arm: name of the arm; `reference` for the vanilla images of other seeds.
        threshold: the judge's, below which an image is unclassified.
        classes: the fixed classes of each attribute.
        probabilities: (N, C) float64 by attribute.
        e: (N, d) float64, unit embeddings.
        modes: (N,) int64, the mode of the nearest centre; all -1 where no modes are known.
        ids: (N,) int64, ids of the images in their own folder.
        seeds: (N,) uint64, the seed of each image, or what stands for one; paired samples have the same.
        blocks: (N,) int64, images of one block depend on each other (a guided batch of one run).
        runs: (N,) int64, the run (generate seed) of each image among those that were pooled; 0 in one run's own data.
        blanked: (N,) bool, images flagged by the model's safety checker, which replaced them; they count as nothing else.
        psnr: (N,) float64 in dB against the paired vanilla sample, infinite where equal, NaN where that has another size
            or is not there; None where the arm has no paired samples.
        features: (N, d_f) float32, what distances, precision and recall compare images by; None for `e`.
        clip_score: (N,) float64, of each image with its own prompt, NaN where that is empty; None where the encoder
            embeds no text.
        spaces: (N, d_s) float16, or float32 where values are too large for it, by name: features that guidance does not
            act in (`selfdebias.metrics.features`); empty in what earlier versions saved.
    """

    arm: str
    threshold: float
    classes: dict[str, tuple[str, ...]]
    probabilities: dict[str, Array]
    e: Array
    modes: Integers
    ids: Integers
    seeds: NDArray[np.uint64]
    blocks: Integers
    runs: Integers
    blanked: NDArray[np.bool_]
    psnr: Array | None = None
    features: NDArray[np.float32] | None = None
    clip_score: Array | None = None
    spaces: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def placed(self) -> Placed:
        """Embeddings with their modes."""
        return Placed(self.e, self.modes)

    @property
    def compared(self) -> NDArray[Any]:
        """What images are compared by: (N, d_f) features of the extractor where there is one, else `e`."""
        return self.e if self.features is None else self.features

    def labels(self, attribute: str) -> tuple[Integers, NDArray[np.bool_]]:
        """Return each image's likeliest class, (N,) int64, and whether the judge is sure enough of it, (N,) bool.

        Of an intersection such as "gender x tone" both parts have to be sure.
        """
        if CROSS in attribute:
            parts = attribute.split(CROSS)
            labels, sure = zip(*map(self.labels, parts), strict=True)
            crossed = np.ravel_multi_index(labels, [len(self.classes[part]) for part in parts])
            return crossed.astype(np.int64), np.logical_and.reduce(sure)
        likeliest, unclassified = classify(torch.from_numpy(self.probabilities[attribute]), self.threshold)
        return likeliest.numpy(), ~unclassified.numpy()

    def crossed(self, attributes: Sequence[str]) -> ArmData:
        """Return the arm with each intersection among `attributes`, such as "gender x tone", as one more attribute.

        Its classes are all pairs, its probabilities the products: judges read the attributes of an image apart.
        """
        classes, probabilities = dict(self.classes), dict(self.probabilities)
        for name in attributes:
            if CROSS in name and name not in classes:
                parts = name.split(CROSS)
                classes[name] = tuple(CROSS.join(pair) for pair in product(*(self.classes[part] for part in parts)))
                joint = self.probabilities[parts[0]]
                for part in parts[1:]:
                    joint = (joint[:, :, None] * self.probabilities[part][:, None, :]).reshape(len(self), -1)
                probabilities[name] = joint
        return replace(self, classes=classes, probabilities=probabilities)

    def rows(self, chosen: NDArray[Any]) -> ArmData:
        """Return the images at `chosen`, a mask (N,) or indices."""
        arrays: dict[str, Any] = {name: value[chosen] for name, value in self._arrays().items()}
        for name in ("probabilities", "spaces"):
            arrays[name] = {key: value[chosen] for key, value in getattr(self, name).items()}
        return replace(self, **arrays)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What runs must have in common to be pooled."""
        absent = (self.psnr is None, self.features is None, self.clip_score is None)
        return self.arm, self.threshold, self.classes, *absent

    def _arrays(self) -> dict[str, NDArray[Any]]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def save_arm(folder: Path, data: ArmData, origin: Mapping[str, str] | None = None) -> None:
    """Write `probabilities-<arm>.safetensors`; probabilities and embeddings go to float32, as models gave them.

    Args:
        folder: where to.
        data: the arm.
        origin: further texts for the file's metadata, as `metrics.features.origin_of` makes them.
    """
    arrays = data._arrays() | {_PREFIX + name: p for name, p in data.probabilities.items()}
    arrays |= {_SPACE + name: x for name, x in data.spaces.items()}
    tensors = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
    for name in ("e", *(name for name in tensors if name.startswith(_PREFIX))):
        tensors[name] = tensors[name].float()
    metadata = {"arm": data.arm, "threshold": repr(data.threshold), "classes": json.dumps(data.classes)}
    write_tensors(Path(folder) / f"probabilities-{data.arm}.safetensors", tensors, metadata | dict(origin or {}))


def load_arm(evaluated: Path, arm: str) -> ArmData:
    """Read one arm back from a finished evaluate stage.

    Args:
        evaluated: folder of the stage.
        arm: name of the arm, or `reference`.

    Raises:
        FileNotFoundError: if the stage did not evaluate that arm; names those that it did.
    """
    path = Path(evaluated) / f"probabilities-{arm}.safetensors"
    if not Path(evaluated).is_dir():
        raise FileNotFoundError(f"{evaluated} is not there any more")
    if not path.exists():
        known = sorted(
            p.stem.removeprefix("probabilities-") for p in Path(evaluated).glob("probabilities-*.safetensors")
        )
        raise FileNotFoundError(f"`arm` must be one of {known} in {evaluated}, got {arm!r}.")
    return read_arm(path)


def read_arm(path: Path) -> ArmData:
    """Read one file that `save_arm` wrote."""
    tensors, metadata = read_tensors(path)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    classes = {name: tuple(names) for name, names in json.loads(metadata["classes"]).items()}
    probabilities = {name: arrays.pop(_PREFIX + name).astype(np.float64) for name in classes}
    arrays["e"] = arrays["e"].astype(np.float64)
    arrays["spaces"] = {name[len(_SPACE) :]: arrays.pop(name) for name in [*arrays] if name.startswith(_SPACE)}
    return ArmData(metadata["arm"], float(metadata["threshold"]), classes, probabilities, **arrays)


def pool(runs: Sequence[ArmData]) -> ArmData:
    """Join one arm's images of several runs, in the order of the runs.

    Pool each arm over the same runs in the same order: then rows of two pooled arms are paired exactly when they were
    so in their runs. Blocks of different runs stay apart. Of `spaces` those are kept that all runs have.

    Raises:
        ValueError: if there is no run, the runs differ in arm, judge, or what was measured, or share a seed.
    """
    if not runs:
        raise ValueError("`runs` must hold at least one run, got none.")
    first = runs[0]
    for run in runs[1:]:
        if run.kind != first.kind:
            raise ValueError(
                f"`runs` must have the same arm, judge, twins and features, got {first.arm!r} and {run.arm!r}."
            )
    seeds = np.concatenate([run.seeds for run in runs])
    if len(np.unique(seeds)) < len(seeds):
        raise ValueError(f"`runs` must not share a seed, got {len(seeds) - len(np.unique(seeds))} seeds twice.")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(run, name) for run in runs]) for name in first._arrays()}
    offsets = np.cumsum([0, *(run.blocks.max(initial=-1) + 1 for run in runs[:-1])])
    arrays["runs"] = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
    arrays["blocks"] = np.concatenate([run.blocks + offset for run, offset in zip(runs, offsets, strict=True)])
    probabilities = {name: np.concatenate([run.probabilities[name] for run in runs]) for name in first.classes}
    return replace(first, probabilities=probabilities, spaces=_shared_spaces(runs), **arrays)


def _shared_spaces(runs: Sequence[ArmData]) -> dict[str, NDArray[Any]]:
    """The features that all runs have, of one width; runs of before have none."""
    widths = [{(name, x.shape[1]) for name, x in run.spaces.items()} for run in runs]
    shared = {name for name, _ in set.intersection(*widths)}
    return {name: np.concatenate([run.spaces[name] for run in runs]) for name in runs[0].spaces if name in shared}
