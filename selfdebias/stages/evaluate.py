"""Evaluate: lets judge and encoder look at each arm's images once, keeps what they said, and measures from that."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
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
from selfdebias.judges.labelled import measure_confusion
from selfdebias.metrics.arms import ArmData, load_arm, pool, save_arm
from selfdebias.metrics.cached import origin_of
from selfdebias.metrics.clip_score import prompt_scores
from selfdebias.metrics.modes import assign_modes
from selfdebias.metrics.preservation import psnr
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary import summarise
from selfdebias.metrics.summary_judge import summarise_error
from selfdebias.metrics.twins import VANILLA
from selfdebias.prompts import Prompts, facts_of
from selfdebias.stages.reference import REFERENCE, outside_reference
from selfdebias.stages.results_file import write_results
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.image_folder import ImageFolder

__all__ = ["CONFIG", "VERSION", "ArmData", "Evaluation", "evaluate", "load_arm", "pool", "summarise"]

VERSION = 3
CONFIG = ("evaluate", "judge", "encoder", "metrics", "prompts")
COLLECTED = "collected"  # the collected images, where another reference takes their place
Vectors = Callable[[Tensor], Tensor]  # images to one vector each


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
        outputs = {f"probabilities/{name}": p for name, p in self.judge(batch["image"]).items()}
        outputs["e"] = self.encoder(batch["image"])
        if self.extractor is not None:
            outputs["features"] = self.extractor(batch["image"])
        if "twin" in batch:
            outputs["psnr"] = psnr(batch["image"].cpu(), batch["twin"].cpu())
        for name, value in outputs.items():
            self.seen[dataloader_idx].setdefault(name, []).append(value.detach().cpu())

    def outputs(self, index: int) -> dict[str, np.ndarray]:
        """Return the outputs of one set, (N, ...) each: features float32, as there may be gigabytes, the rest float64."""
        joined = {name: torch.cat(values) for name, values in self.seen[index].items()}
        return {name: (x.float() if name == "features" else x.double()).numpy() for name, x in joined.items()}


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
    labelled: str | None = None,
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
        labelled: folder of labelled images to hold the judge against; None takes what it states of its own error.
        reference: folder, job or file of other reference images; the collected ones are then the arm `collected`.
    """
    own = COLLECTED if reference else REFERENCE
    folders = {own: BatchFolder.open(collected)} | {arm: BatchFolder.open(path) for arm, path in arms.items()}
    facts = {arm: json.loads((Path(path) / "generate.json").read_text()) for arm, path in arms.items()}
    modes = json.loads((Path(discovered) / "modes.json").read_text())
    centers, origin = read_centers(discovered), partial(origin_of, judge, encoder, metrics.features)
    module = Evaluation(judge, encoder, len(folders), metrics.features)
    data = _look(folders, facts, centers, module, batch_size, trainer)
    for name, arm in data.items():
        images = ImageFolder(folders[name].path)
        save_arm(folder, arm, origin(images.sha256, images.key))
    outside: dict[str, Any] = {}
    if reference:
        look = Evaluation(judge, encoder, 1, metrics.features)
        as_arm = partial(arm_data, module=look, centers=centers)
        data[REFERENCE], outside = outside_reference(reference, folder, look, as_arm, centers, batch_size, trainer)
    results = summarise(
        {arm: data[arm] for arm in arms},
        data[REFERENCE],
        {**modes, "target": target_of(facts) or modes["target"]},
        facts_of(prompts),
        metrics,
        bootstrap,
        seed,
        judge={**describe_judge(judge, encoder), "error": judge_error(judge, labelled, batch_size, trainer)},
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
    facts: Mapping[str, Mapping[str, Any]],
    centers: np.ndarray,
    module: Evaluation,
    batch_size: int,
    trainer: Callable[..., pl.Trainer],
) -> dict[str, ArmData]:
    """Run judge, encoder and extractor over all images, in one `Trainer.test`."""
    twins = {arm: folders.get(VANILLA) for arm in folders if arm not in (REFERENCE, COLLECTED, VANILLA)}
    loaders = [DataLoader(ArmImages(folders[arm], twins.get(arm)), batch_size=batch_size) for arm in folders]
    trainer().test(module, dataloaders=loaders, verbose=False)
    return {
        arm: arm_data(arm, folder.records(), module.outputs(index), module, centers, facts.get(arm))
        for index, (arm, folder) in enumerate(folders.items())
    }


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
    name = {"image": "id", "batch": "batch", "run": None}["image" if facts is None else facts["dependence"]]
    return np.array([0 if name is None else record[name] for record in records], dtype=np.int64)


def arm_data(
    arm: str,
    records: Sequence[Mapping[str, Any]],
    outputs: Mapping[str, np.ndarray],
    module: Evaluation,
    centers: np.ndarray | None,
    facts: Mapping[str, Any] | None = None,
) -> ArmData:
    """Gather what is known of the images of one arm.

    Args:
        arm: its name.
        records: of each of N images, `id`, `seed`, `batch`, `blanked`, and `prompt` where there is one.
        outputs: what `module` said of them, by name, (N, ...).
        module: the evaluation that saw them.
        centers: (K, d) centres of the modes; None where no modes are known.
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
    )


def read_centers(discovered: Path) -> np.ndarray:
    return load_file(Path(discovered) / "centers.safetensors")["centers"].double().numpy()


def describe_judge(judge: Judge, encoder: Any) -> dict[str, Any]:
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


def judge_error(
    judge: Judge, labelled: str | None, batch_size: int, trainer: Callable[..., pl.Trainer]
) -> dict[str, Any]:
    """State the judge's error by attribute, as measured here where there are labelled images of it."""
    measured = {}
    if labelled is not None:
        measured = measure_confusion(judge, Path(labelled), batch_size, trainer().strategy.root_device)
    return summarise_error(judge.classes, getattr(judge, "confusion", None) or {}, measured)
