"""Lets judge, encoder and feature extractor look at images, and gathers what they say of the images of an arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset

from selfdebias.judges import Judge
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.clip_score import prompt_scores
from selfdebias.metrics.features import judged_with_features
from selfdebias.metrics.modes import assign_modes
from selfdebias.metrics.preservation import psnr
from selfdebias.modes.axis_sides import AxisSides
from selfdebias.storage.batches import BatchFolder

Vectors = Callable[[Tensor], Tensor]  # images to one vector each
SPACE = "spaces/"  # before the names of features that guidance does not act in


class ArmImages(Dataset):
    """Images of a folder in the order of their ids, each with the image of the same id in a folder of twins.

    Args:
        folder: the arm's images.
        twins: the vanilla arm's images; None yields no twin.

    Raises:
        ValueError: if the twins do not have the same ids.
    """

    def __init__(self, folder: BatchFolder, twins: BatchFolder | None) -> None:
        self.folder = folder
        self.twins = twins
        self.ids = folder.ids()
        if twins is not None and twins.ids() != self.ids:
            raise ValueError(f"`arms` must have the same image ids, got others in {folder.path} and {twins.path}.")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """Return `image` (3, H, W) float32 in [0, 1], and `twin` of the same form where there are twins."""
        ids = [self.ids[row]]
        twin = {} if self.twins is None else {"twin": self.twins.images(ids)[0]}
        return {"image": self.folder.images(ids)[0], **twin}


class Evaluation(pl.LightningModule):
    """Collects, for each of several sets of images, what judge and encoder say of each image, and its small pixels.

    Args:
        judge: images to probabilities.
        encoder: images to unit embeddings.
        n_sets: number of sets of images, one dataloader each.
        extractor: images to the features that they are compared by; None where those are the embeddings.

    Attributes:
        seen: for each set, the outputs by name, a list of (B, ...) tensors in the order of the images.
    """

    def __init__(self, judge: Judge, encoder: Vectors, n_sets: int, extractor: Vectors | None = None) -> None:
        super().__init__()
        self.extractor = extractor
        self.judge = judge
        self.encoder = encoder
        self.seen: list[dict[str, list[Tensor]]] = [{} for _ in range(n_sets)]

    def test_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Judge and embed one batch."""
        probabilities, spaces = judged_with_features(self.judge, self.encoder, batch["image"])
        outputs = {f"probabilities/{name}": p for name, p in probabilities.items()}
        outputs |= {SPACE + name: x for name, x in spaces.items()}
        outputs["e"] = self.encoder(batch["image"])
        if self.extractor is not None:
            outputs["features"] = self.extractor(batch["image"])
        if "twin" in batch:
            outputs["psnr"] = psnr(batch["image"].cpu(), batch["twin"].cpu())
        for name, value in outputs.items():
            self.seen[dataloader_idx].setdefault(name, []).append(value.detach().cpu())

    def outputs(self, index: int) -> dict[str, np.ndarray]:
        """Return the outputs of one set, (N, ...) each: features compact, as there may be gigabytes, the rest float64."""
        joined = {name: torch.cat(values) for name, values in self.seen[index].items()}
        kinds = {name: torch.float32 if name == "features" else torch.float64 for name in joined}
        return {name: (x if name.startswith(SPACE) else x.to(kinds[name])).numpy() for name, x in joined.items()}


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


def arm_data(
    arm: str,
    records: Sequence[Mapping[str, Any]],
    outputs: Mapping[str, np.ndarray],
    module: Evaluation,
    centers: np.ndarray | AxisSides | None,
    facts: Mapping[str, Any] | None = None,
) -> ArmData:
    """Gather what is known of the images of one arm.

    Args:
        arm: its name.
        records: of each of N images, `id`, `seed`, `batch`, `blanked`, and `prompt` where there is one.
        outputs: what `module` said of them, by name, (N, ...).
        module: the evaluation that saw them.
        centers: (K, d) centres of the modes, or axes; None where no modes are known.
        facts: see `blocks_of`.
    """
    judge = module.judge
    return ArmData(
        arm=arm,
        threshold=judge.threshold,
        classes={name: tuple(names) for name, names in judge.classes.items()},
        probabilities={name: outputs[f"probabilities/{name}"] for name in judge.classes},
        e=outputs["e"],
        modes=assign_modes(outputs["e"], centers),
        ids=np.array([record["id"] for record in records], dtype=np.int64),
        seeds=np.array([record["seed"] for record in records], dtype=np.uint64),
        blocks=blocks_of(records, facts),
        runs=np.zeros(len(records), dtype=np.int64),
        blanked=np.array([record["blanked"] for record in records], dtype=bool),
        psnr=outputs.get("psnr"),
        features=outputs.get("features"),
        clip_score=prompt_scores(outputs["e"], [record.get("prompt", "") for record in records], module.encoder),
        spaces={name.removeprefix(SPACE): x for name, x in outputs.items() if name.startswith(SPACE)},
    )


def read_centers(discovered: Path) -> np.ndarray | AxisSides:
    """Return the centres of the modes that a discover stage found, (K, d) float64 unit vectors; or the axes."""
    found = load_file(Path(discovered) / "centers.safetensors")
    return AxisSides.read(discovered) if "duals" in found else found["centers"].double().numpy()
