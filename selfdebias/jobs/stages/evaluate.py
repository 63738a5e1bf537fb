"""Evaluate: lets judge and encoder look at each arm's images once, keeps what they said, and measures from that.

An arm is a folder of images, with the manifest of a stage or without one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from selfdebias.config.prompts import Prompts, facts_of
from selfdebias.encoders.base import told_of
from selfdebias.jobs.stages.chunks import StageImages
from selfdebias.jobs.stages.looking import REFERENCE, Look, read_centers
from selfdebias.judges import Judge
from selfdebias.judges.labelled import measure_confusion, skipped_labels
from selfdebias.metrics.corrected import summarise_error
from selfdebias.metrics.number import leaves
from selfdebias.metrics.spaces import ENCODER
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary import summarise
from selfdebias.metrics.twins import VANILLA
from selfdebias.storage.atomic import append_line, read_json, write_json
from selfdebias.storage.image_folder import ImageFolder

VERSION, CONFIG = 5, ("evaluate", "judge", "encoder", "metrics", "prompts")
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
    modes, centers = read_json(discovered / "modes.json"), read_centers(discovered)
    look = Look(folder, judge, encoder, metrics.features, centers, batch_size, trainer)
    folders = {VANILLA: StageImages(arms[VANILLA]), **{arm: StageImages(path) for arm, path in arms.items()}}
    _check_ids(folders)
    data, _ = look.at(folders)
    facts = {arm: folders[arm].drawing for arm in arms}
    own = COLLECTED if reference or drawn else REFERENCE
    beside = {own: collected} | ({REFERENCE: drawn} if drawn else {})
    for name, path in beside.items():
        data |= look.at({name: StageImages(path)})[0]
    outside: dict[str, Any] = {}
    if reference:
        data[REFERENCE], outside = look.at_reference(reference)
    error, skipped = judge_error(judge, labelled, batch_size, trainer)
    told = told_of(encoder)
    results = summarise(
        {arm: data[arm] for arm in arms}, data[REFERENCE],
        {**modes, **asked_of(facts, modes), "places": centers if "axes" in modes else None}, facts_of(prompts), metrics,
        bootstrap, seed, judge={**describe_judge(judge, encoder), "error": error}, costs=facts, collected=data[own],
        spaces={ENCODER: {"name": short_name(encoder)} | ({"told": told} if told else {})},
    )  # fmt: skip
    write_results(folder, results | outside | {"skipped": {**outside.get("skipped", {}), **skipped}})


def _check_ids(folders: Mapping[str, ImageFolder]) -> None:
    ids = {arm: [file.id for file in it.files] for arm, it in folders.items()}
    for arm, folder in folders.items():
        if ids[arm] != ids[VANILLA]:
            raise ValueError(
                f"`arms` must have the same image ids, got others in {folder.path} and {folders[VANILLA].path}."
            )


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


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write `results.json`, and each of its numbers as a line of `metrics.jsonl`, in place of those of an unfinished attempt."""
    log = folder / "metrics.jsonl"
    log.unlink(missing_ok=True)
    for name, leaf in leaves(results["arms"]):
        entry = leaf if isinstance(leaf, Mapping) else {"value": leaf}
        append_line(log, {"stage": "evaluate", "step": 0, "name": name, **entry})
    write_json(folder / "results.json", dict(results))
