"""Lets judge, encoder and feature extractor look at images, once, and keeps what they say of each arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from selfdebias.jobs.evaluation_inputs import is_file, reference_folder
from selfdebias.jobs.stages.chunks import Chunks
from selfdebias.judges import Judge
from selfdebias.metrics.arms import ArmData, save_arm
from selfdebias.metrics.features import assign_modes, judged_with_features, load_reference, origin_of
from selfdebias.metrics.quality import prompt_scores
from selfdebias.modes.placement import AxisSides
from selfdebias.storage.image_folder import ImageFolder

Vectors = Callable[[Tensor], Tensor]  # images to one vector each
Centers = np.ndarray | AxisSides  # (K, d) float64 unit centres of modes, or axes
SPACE = "spaces/"  # before the names of features that guidance does not act in
REFERENCE = "reference"


@dataclass(frozen=True)
class Looked:
    """What was seen of one folder.

    Args:
        records: Of each image that could be read, N in the order of the folder: `id`, `seed`, `prompt`, `batch`, `blanked`.
        outputs: By name, (N, ...) in the same order; `psnr` in dB against the paired sample in the first folder, NaN
            where there is none of the same size.
        names: Name of each of the N images.
        skipped: `n`, and for each file that could not be read its name and the `reason`.
        without_colour: Number of images of greys alone, black ones not among them.
    """

    records: list[dict[str, Any]]
    outputs: dict[str, np.ndarray]
    names: list[str]
    skipped: dict[str, Any]
    without_colour: int


@dataclass(frozen=True)
class Look:
    """How all images of an evaluation are looked at.

    Args:
        folder: where what was seen is saved, as `probabilities-<arm>.safetensors`.
        judge: images to probabilities.
        encoder: images to unit embeddings.
        extractor: images to the features that they are compared by; None where those are the embeddings.
        centers: (K, d) centres of the modes, or axes; None where no modes are known.
        batch_size: images of one size in a call of judge and encoder, at most.
        trainer: makes the Trainer.
    """

    folder: Path
    judge: Judge
    encoder: Vectors
    extractor: Vectors | None
    centers: Centers | None
    batch_size: int
    trainer: Callable[..., pl.Trainer]

    def at(self, folders: Mapping[str, ImageFolder]) -> tuple[dict[str, ArmData], dict[str, Looked]]:
        """Look at each image once, in one `Trainer.test`, and save what was seen.

        Args:
            folders: by arm; the first holds the paired samples of the others.
        """
        looked = self._looked(folders)
        arms = {arm: self._arm(arm, it, folders[arm].dependence) for arm, it in looked.items()}
        for arm, data in arms.items():
            save_arm(self.folder, data, self._origin(folders[arm]))
        return arms, looked

    def at_reference(self, reference: str) -> tuple[ArmData, dict[str, Any]]:
        """Look at reference images, or read what an earlier evaluation saw of them, and save it.

        Args:
            reference: folder of images, job, or file of an earlier evaluation.

        Returns:
            the images; and for `results.json`, `reference` (where they come from, how many, sha256 and who looked at them) and
            `skipped` (files that could not be read).
        """
        skipped = {}
        if is_file(reference):
            data, origin = load_reference(Path(reference), REFERENCE, self.judge, self.centers)
        else:
            images = ImageFolder(reference_folder(reference), "evaluate.reference")
            looked = self._looked({REFERENCE: images})[REFERENCE]
            data, skipped = self._arm(REFERENCE, looked, None), {REFERENCE: looked.skipped}
            origin = self._origin(images)
        save_arm(self.folder, data, origin)
        return data, {"reference": {**origin, "path": reference, "images": len(data)}, "skipped": skipped}

    def _looked(self, folders: Mapping[str, ImageFolder]) -> dict[str, Looked]:
        evaluation = Evaluation(self.judge, self.encoder, len(folders), self.extractor)
        chunks = Chunks([*folders.values()], self.batch_size)
        loader = DataLoader(chunks, batch_size=None, collate_fn=lambda chunk: chunk)
        self.trainer().test(evaluation, dataloaders=[loader], verbose=False)
        return {arm: evaluation.looked(place, folder) for place, (arm, folder) in enumerate(folders.items())}

    def _origin(self, images: ImageFolder) -> dict[str, str]:
        return origin_of(self.judge, self.encoder, self.extractor, images.sha256, images.key)

    def _arm(self, arm: str, looked: Looked, facts: Mapping[str, Any] | None) -> ArmData:
        """What is known of the images of one arm; `facts` as in `blocks_of`."""
        judge, outputs, records = self.judge, looked.outputs, looked.records
        return ArmData(
            arm=arm,
            threshold=judge.threshold,
            classes={name: tuple(names) for name, names in judge.classes.items()},
            probabilities={name: outputs[f"probabilities/{name}"] for name in judge.classes},
            e=outputs["e"],
            modes=assign_modes(outputs["e"], self.centers),
            ids=np.array([record["id"] for record in records], dtype=np.int64),
            seeds=np.array([record["seed"] for record in records], dtype=np.uint64),
            blocks=blocks_of(records, facts),
            runs=np.zeros(len(records), dtype=np.int64),
            blanked=np.array([record["blanked"] for record in records], dtype=bool),
            psnr=outputs.get("psnr"),
            features=outputs.get("features"),
            clip_score=prompt_scores(outputs["e"], [record.get("prompt", "") for record in records], self.encoder),
            spaces={name.removeprefix(SPACE): x for name, x in outputs.items() if name.startswith(SPACE)},
        )


class Evaluation(pl.LightningModule):
    """Collects, for each of several folders, what judge and encoder say of each image, and its small pixels.

    Args:
        judge: images to probabilities.
        encoder: images to unit embeddings.
        n_sets: number of folders.
        extractor: images to the features that they are compared by; None where those are the embeddings.
    """

    def __init__(self, judge: Judge, encoder: Vectors, n_sets: int, extractor: Vectors | None = None) -> None:
        super().__init__()
        self.extractor = extractor
        self.judge = judge
        self.encoder = encoder
        self.seen: list[dict[str, list[Tensor]]] = [{} for _ in range(n_sets)]
        self.kept: list[dict[str, list[Any]]] = [
            {"rows": [], "black": [], "grey": [], "skipped": []} for _ in range(n_sets)
        ]

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Judge and embed each part of one of the `Chunks`."""
        for part in batch["parts"]:
            for name in ("rows", "black", "grey"):
                self.kept[part["set"]][name].append(part[name])
            outputs = self._outputs(part["image"])
            if "psnr" in part:
                outputs["psnr"] = torch.from_numpy(part["psnr"])
            for name, value in outputs.items():
                self.seen[part["set"]].setdefault(name, []).append(value.detach().cpu())
        for place, row, reason in batch["skipped"]:
            self.kept[place]["skipped"].append((row, reason))

    def _outputs(self, images: Tensor) -> dict[str, Tensor]:
        probabilities, spaces = judged_with_features(self.judge, self.encoder, images)
        outputs = {f"probabilities/{name}": p for name, p in probabilities.items()}
        outputs |= {SPACE + name: x for name, x in spaces.items()}
        outputs["e"] = self.encoder(images)
        return outputs if self.extractor is None else outputs | {"features": self.extractor(images)}

    def looked(self, place: int, folder: ImageFolder) -> Looked:
        """Return what was seen of one folder, in its order: features compact, as there may be gigabytes, the rest float64."""
        kept = self.kept[place]
        rows, black = np.concatenate(kept["rows"]), np.concatenate(kept["black"])
        order = np.argsort(rows)
        files = [folder.files[row] for row in rows[order]]
        records = [
            {**file.facts, "blanked": bool(dark) if file.blanked is None else file.blanked}
            for file, dark in zip(files, black[order], strict=True)
        ]
        outputs = {}
        for name, values in self.seen[place].items():
            joined = torch.cat(values)
            if not name.startswith(SPACE):
                joined = joined.float() if name == "features" else joined.double()
            outputs[name] = joined.numpy()[order]
        unread = [{"file": folder.relative(folder.files[row]), "reason": why} for row, why in sorted(kept["skipped"])]
        names, grey = [file.name for file in files], int(np.concatenate(kept["grey"]).sum())
        return Looked(records, outputs, names, {"n": len(unread), "files": unread}, grey)


def blocks_of(records: Sequence[Mapping[str, Any]], facts: Mapping[str, Any] | None) -> np.ndarray:
    """Return the block of each image, (N,) int64; images of one block depend on each other.

    Args:
        records: of the images, with `id` and `batch`.
        facts: what the arm's generate stage wrote, with `dependence`; None for images drawn without guidance.

    Example:
        >>> records = [{"id": 4, "batch": 1}, {"id": 5, "batch": 1}]
        >>> blocks_of(records, None).tolist(), blocks_of(records, {"dependence": "batch"}).tolist()
        ([4, 5], [1, 1])
    """
    name = {"image": "id", "batch": "batch", "run": "prompt"}["image" if facts is None else facts["dependence"]]
    if name == "prompt":  # a memory is that of one prompt
        return np.unique([record[name] for record in records], return_inverse=True)[1].astype(np.int64)
    return np.array([record[name] for record in records], dtype=np.int64)


def read_centers(discovered: Path) -> Centers:
    """Return the centres of the modes that a discover stage found, (K, d) float64 unit vectors; or the axes."""
    found = load_file(Path(discovered) / "centers.safetensors")
    return AxisSides.read(discovered) if "duals" in found else found["centers"].double().numpy()
