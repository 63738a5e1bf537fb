"""Evaluate: lets judge and encoder look at each arm's images once, keeps what they said, and measures from that."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from selfdebias.config.prompts import Prompts, facts_of
from selfdebias.encoders.base import told_of
from selfdebias.jobs.stages.looking import ArmImages, Evaluation, arm_data, read_centers
from selfdebias.jobs.stages.reference import REFERENCE, outside_reference
from selfdebias.jobs.stages.results_file import write_results
from selfdebias.judges import Judge
from selfdebias.judges.labelled import measure_confusion, skipped_labels
from selfdebias.metrics.arms import ArmData, save_arm
from selfdebias.metrics.cached import origin_of
from selfdebias.metrics.corrected import summarise_error
from selfdebias.metrics.spaces import ENCODER
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary import summarise
from selfdebias.metrics.twins import VANILLA
from selfdebias.modes.axis_sides import AxisSides
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.image_folder import ImageFolder

VERSION = 5
CONFIG = ("evaluate", "judge", "encoder", "metrics", "prompts")
COLLECTED = "collected"  # the collected images, where another reference takes their place


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
    drawn: Path | None = None,
) -> None:
    """Measure all arms; write `results.json`, `metrics.jsonl` and `probabilities-<arm>.safetensors`.

    The job that asked adds its `config_hash` and `seeds` to its own copy of `results.json`.

    Args:
        folder: where to write; a `metrics.jsonl` of an earlier, unfinished attempt is replaced.
        arms: generate folder of each arm.
        collected: collect folder; its images are the reference, as the arm `reference`, unless others are given.
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
        drawn: folder of reference images that the arms' own model drew, where the collected ones are of another guidance scale or
            sampler; those are the arm `collected` then too.
    """
    own = COLLECTED if reference or drawn else REFERENCE
    folders = {own: BatchFolder.open(collected)} | ({REFERENCE: BatchFolder.open(drawn)} if drawn else {})
    folders |= {arm: BatchFolder.open(path) for arm, path in arms.items()}
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
    error, skipped = judge_error(judge, labelled, batch_size, trainer)
    results = summarise(
        {arm: data[arm] for arm in arms},
        data[REFERENCE],
        {**modes, **asked_of(facts, modes), "places": centers if "axes" in modes else None},
        facts_of(prompts),
        metrics,
        bootstrap,
        seed,
        judge={**describe_judge(judge, encoder), "error": error},
        costs=facts,
        collected=data[own],
        spaces={ENCODER: {"name": short_name(encoder)} | ({"told": told_of(encoder)} if told_of(encoder) else {})},
    )
    write_results(Path(folder), results | outside | {"skipped": {**outside.get("skipped", {}), **skipped}})


def asked_of(facts: Mapping[str, Mapping[str, Any]], modes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all arms are held against.

    Returns:
        ``target``: the shares that an arm was guided towards, equal ones where none was; ``balanced``: numbers of the axes that an
        arm was to balance, if these are not all.
    """
    balanced = [list(it["guidance"]["axes"]) for it in facts.values() if it.get("guidance", {}).get("axes") is not None]
    chosen = {"balanced": balanced[0]} if balanced else {}
    return {"target": target_of(facts) or modes["target"], **chosen}


def target_of(facts: Mapping[str, Mapping[str, Any]]) -> list[float] | None:
    """Return the shares that an arm was guided towards, which all arms are held against; None for equal ones."""
    targets = [it["guidance"]["target"] for it in facts.values() if it.get("guidance", {}).get("target")]
    return targets[0] if targets else None


def _look(
    folders: dict[str, BatchFolder],
    facts: Mapping[str, Mapping[str, Any]],
    centers: np.ndarray | AxisSides,
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


def short_name(encoder: Any) -> str:
    """Return the name of an encoder without the folder or the owner that it is of, for headings.

    Example:
        >>> from types import SimpleNamespace
        >>> [short_name(SimpleNamespace(encoder_id=it)) for it in ("shipped:emoji_clip", "openai/clip-vit-base-patch32")]
        ['emoji_clip', 'clip-vit-base-patch32']
    """
    name = str(getattr(encoder, "encoder_id", None) or type(encoder).__name__)
    return re.split(r"[/\\:]", name.rstrip("/\\"))[-1]


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
) -> tuple[dict[str, Any], dict[str, Any]]:
    """State the judge's error by attribute, as measured here where there are labelled images of it, and the files skipped."""
    stated = getattr(judge, "confusion", None) or {}
    if labelled is None:
        return summarise_error(judge.classes, stated, {}), {}
    measured = measure_confusion(judge, Path(labelled), batch_size, trainer().strategy.root_device)
    return summarise_error(judge.classes, stated, measured), {"labelled": skipped_labels(measured)}
