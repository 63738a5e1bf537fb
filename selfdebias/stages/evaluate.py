"""Evaluate: lets judge and encoder look at each arm's images once, keeps what they said, and measures from that."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from selfdebias.judges import Judge
from selfdebias.metrics.arms import ArmData, load_arm, pool, save_arm
from selfdebias.metrics.cached import origin_of
from selfdebias.metrics.modes import assign_modes
from selfdebias.metrics.preservation import psnr
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary import summarise
from selfdebias.metrics.twins import VANILLA
from selfdebias.prompts import Prompts
from selfdebias.stages.reference import REFERENCE, outside_reference
from selfdebias.stages.results_file import write_results
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.image_folder import ImageFolder

__all__ = ["CONFIG", "VERSION", "ArmData", "Evaluation", "evaluate", "load_arm", "pool", "summarise"]

VERSION = 2
CONFIG = ("evaluate", "judge", "encoder", "metrics", "prompts")
COLLECTED = "collected"  # the collected images, where another reference takes their place


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
    """Collects, for each of several sets of images, what judge and encoder say of each image.

    Args:
        judge: images to probabilities.
        encoder: images to unit embeddings.
        n_sets: number of sets of images, one dataloader each.

    Attributes:
        seen: for each set, the outputs by name, a list of (B, ...) tensors in the order of the images.
    """

    def __init__(self, judge: Judge, encoder: Callable[[Tensor], Tensor], n_sets: int) -> None:
        super().__init__()
        self.judge = judge
        self.encoder = encoder
        self.seen: list[dict[str, list[Tensor]]] = [{} for _ in range(n_sets)]

    def test_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Judge and embed one batch."""
        outputs = {f"probabilities/{name}": p for name, p in self.judge(batch["image"]).items()}
        outputs["e"] = self.encoder(batch["image"])
        if "twin" in batch:
            outputs["psnr"] = psnr(batch["image"].cpu(), batch["twin"].cpu())
        for name, value in outputs.items():
            self.seen[dataloader_idx].setdefault(name, []).append(value.detach().cpu())

    def outputs(self, index: int) -> dict[str, np.ndarray]:
        """Return the outputs of one set, (N, ...) float64 each."""
        return {name: torch.cat(values).double().numpy() for name, values in self.seen[index].items()}


def evaluate(
    folder: Path,
    arms: Mapping[str, Path],
    collected: Path,
    discovered: Path,
    judge: Judge,
    encoder: Callable[[Tensor], Tensor],
    metrics: MetricSuite,
    prompts: Prompts,
    batch_size: int,
    bootstrap: int,
    seed: int,
    trainer: Callable[..., pl.Trainer],
    reference: str | None = None,
) -> None:
    """Measure all arms; write `results.json`, `metrics.jsonl` and `probabilities-<arm>.safetensors`.

    The job that asked adds its `config_hash` and `seeds` to its own copy of `results.json`.

    Args:
        folder: where to write; a `metrics.jsonl` of an earlier, unfinished attempt is replaced.
        arms: generate folder of each arm.
        collected: collect folder; its images are the reference, as the arm `reference`, unless another is given.
        discovered: discover folder.
        judge: images to probabilities.
        encoder: images to unit embeddings, the one that the modes were found with.
        metrics: fixed choices of the metrics.
        prompts: attributes to report.
        batch_size: images in one call of judge and encoder.
        bootstrap: resamples.
        seed: of the resampling.
        trainer: makes the Trainer.
        reference: folder, job or file of other reference images; the collected ones are then the arm `collected`.
    """
    own = COLLECTED if reference else REFERENCE
    folders = {own: BatchFolder.open(collected)} | {arm: BatchFolder.open(path) for arm, path in arms.items()}
    facts = {arm: json.loads((Path(path) / "generate.json").read_text()) for arm, path in arms.items()}
    modes = json.loads((Path(discovered) / "modes.json").read_text())
    centers = _centers(discovered)
    data = _look(folders, centers, judge, encoder, batch_size, trainer)
    for name, arm in data.items():
        images = ImageFolder(folders[name].path)
        save_arm(folder, arm, origin_of(judge, encoder, images.sha256, images.key))
    outside: dict[str, Any] = {}
    if reference:
        as_arm = partial(_arm_data, judge=judge, centers=centers)
        evaluation = Evaluation(judge, encoder, 1)
        data[REFERENCE], outside = outside_reference(
            reference, folder, evaluation, as_arm, centers, batch_size, trainer
        )
    results = summarise(
        {arm: data[arm] for arm in arms},
        data[REFERENCE],
        {**modes, "target": target_of(facts) or modes["target"]},
        asdict(prompts) | {"attributes": list(prompts.attributes)},
        metrics,
        bootstrap,
        seed,
        judge=_describe(judge, encoder),
        costs=facts,
        collected=data[own],
    )
    write_results(Path(folder), results | outside)


def target_of(facts: Mapping[str, Mapping[str, Any]]) -> list[float] | None:
    """Return the shares that an arm was guided towards, which all arms are held against; None for equal ones."""
    targets = [it["guidance"]["target"] for it in facts.values() if it.get("guidance", {}).get("target")]
    return targets[0] if targets else None


def _look(
    folders: dict[str, BatchFolder],
    centers: np.ndarray,
    judge: Judge,
    encoder: Callable[[Tensor], Tensor],
    batch_size: int,
    trainer: Callable[..., pl.Trainer],
) -> dict[str, ArmData]:
    """Run judge and encoder over all images, in one `Trainer.test`."""
    twins = {arm: folders.get(VANILLA) for arm in folders if arm not in (REFERENCE, COLLECTED, VANILLA)}
    loaders = [DataLoader(ArmImages(folders[arm], twins.get(arm)), batch_size=batch_size) for arm in folders]
    module = Evaluation(judge, encoder, len(loaders))
    trainer().test(module, dataloaders=loaders, verbose=False)
    return {
        arm: _arm_data(arm, folder.records(), module.outputs(index), judge, centers)
        for index, (arm, folder) in enumerate(folders.items())
    }


def _arm_data(
    arm: str, records: list[dict[str, Any]], outputs: dict[str, np.ndarray], judge: Judge, centers: np.ndarray | None
) -> ArmData:
    ids = np.array([record["id"] for record in records], dtype=np.int64)
    # Images of the reference were drawn without guidance, so each is a block of its own.
    blocks = ids if arm in (REFERENCE, COLLECTED) else np.array([record["batch"] for record in records], dtype=np.int64)
    return ArmData(
        arm=arm,
        threshold=judge.threshold,
        classes={name: tuple(names) for name, names in judge.classes.items()},
        probabilities={name: outputs[f"probabilities/{name}"] for name in judge.classes},
        e=outputs["e"],
        modes=assign_modes(outputs["e"], centers),
        ids=ids,
        seeds=np.array([record["seed"] for record in records], dtype=np.uint64),
        blocks=blocks,
        blanked=np.array([record["blanked"] for record in records], dtype=bool),
        psnr=outputs.get("psnr"),
    )


def _centers(discovered: Path) -> np.ndarray:
    return load_file(Path(discovered) / "centers.safetensors")["centers"].double().numpy()


def _describe(judge: Judge, encoder: Any) -> dict[str, Any]:
    """State the judge, and warn where it rests on the encoder that found the modes."""
    used = getattr(encoder, "encoder_id", None)
    circular = judge.encoder_id is not None and judge.encoder_id == used
    if circular:
        warnings.warn(
            f"The judge and the modes share the encoder {used}: that they agree is circular. Take another judge.",
            stacklevel=2,
        )
    return {
        "name": type(judge).__name__,
        "classes": {name: list(names) for name, names in judge.classes.items()},
        "threshold": judge.threshold,
        "encoder_id": judge.encoder_id,
        "circular": circular,
    }
