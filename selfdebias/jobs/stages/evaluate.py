"""Evaluate: lets judge and encoder look at each arm's images once, keeps what they said, and measures from that.

An arm is a folder of images, with the manifest of a stage or without one: a job's own, or what any method or tool has left.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from selfdebias.config.prompts import NoPrompt, Prompts
from selfdebias.config.rules import ConfigError
from selfdebias.encoders.base import told_of
from selfdebias.jobs.evaluation_inputs import collected_by, discover_folder
from selfdebias.jobs.prompts import facts_of
from selfdebias.jobs.stages.chunks import StageImages
from selfdebias.jobs.stages.looking import REFERENCE, Centers, Look, Looked, read_centers
from selfdebias.judges import Judge
from selfdebias.judges.labelled import measure_confusion, skipped_labels, summarise_error
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.comparison import VANILLA, Comparison
from selfdebias.metrics.features import identity
from selfdebias.metrics.metric import MetricSuite
from selfdebias.metrics.number import leaves, missing
from selfdebias.metrics.spaces import ENCODER
from selfdebias.metrics.summary import summarise
from selfdebias.report.job_table import markdown_table
from selfdebias.storage.atomic import append_line, read_json, write_json, write_text
from selfdebias.storage.hidden import hidden
from selfdebias.storage.image_folder import ImageFolder

VERSION, CONFIG = 5, ("evaluate", "judge", "encoder", "metrics", "prompts")
VERSION_OF_FOLDERS, CONFIG_OF_FOLDERS = 3, ("evaluate", "judge", "encoder", "metrics", "prompts.attributes")
COLLECTED = "collected"  # the collected images, where another reference takes their place
NO_COST = "folders of images do not say what drawing them took"


def evaluate(
    folder: Path, judge: Judge, encoder: Callable[[Tensor], Tensor], metrics: MetricSuite, prompts: Prompts | NoPrompt,
    batch_size: int, bootstrap: int, seed: int, trainer: Callable[..., pl.Trainer], labelled: str | None = None,
    reference: str | None = None, arms: Mapping[str, Path] | None = None, collected: Path | None = None,
    discovered: Path | None = None, drawn: Path | None = None, folders: Mapping[str, str] | None = None,
    modes: str | None = None, drawn_together: int = 1,
) -> None:  # fmt: skip
    """Measure all arms; write `results.json`, `metrics.jsonl` and `probabilities-<arm>.safetensors`.

    Of given folders, `results.json` further has `sources` and `skipped` by arm, files that cannot be read are no
    error, and `images.json` and `table.md` are written. The job that asked adds its `config_hash` and `seeds` to its own copy.

    Args:
        folder: where to write; a `metrics.jsonl` of an earlier, unfinished attempt is replaced.
        judge: images to probabilities.
        encoder: images to unit embeddings, the one that the modes were found with.
        metrics: fixed choices of the metrics.
        prompts: attributes to report.
        batch_size: images in one call of judge and encoder.
        bootstrap: resamples.
        seed: of the resampling.
        trainer: makes the Trainer.
        labelled: folder of labelled images to hold the judge against; None takes what it states of its own error.
        reference: folder, job or file of reference images; the collected ones are then the arm `collected`. Without any reference,
            what is measured against it is left out.
        arms: generate folder of each arm of a job.
        collected: its collect folder, whose images are the arm `reference`, unless others are given.
        discovered: its discover folder.
        drawn: folder of reference images that the arms' own model drew, where the collected ones are of another guidance scale or
            sampler; those are the arm `collected` then too.
        folders: in place of a job's arms, folder of each arm.
        modes: with `folders`, job or discover stage whose modes are used; None leaves out what is measured over modes.
        drawn_together: with `folders`, images, in the order of their names, that depend on each other.
    """
    given = _images_of(arms or {}, folders or {}, drawn_together)
    drawings = {arm: images.drawing for arm, images in given.items()}
    place = discover_folder(modes) if modes else discovered
    centers = None if place is None else read_centers(place)
    found = None if place is None else _read_modes(place, drawings, None if modes else centers)
    look = Look(folder, judge, encoder, metrics.features, centers, batch_size, trainer)
    compared = compared_with(given)
    data, looked = look.at({compared.baseline: given[compared.baseline], **given})
    references, outside = _references(look, collected, drawn, reference)
    if found and place and modes and not _has_labels_of(place, outside.get("reference", {}), judge):
        found.pop("labels", None)
    error, skipped = judge_error(judge, labelled, batch_size, trainer)
    told = {"told": told_of(encoder)} if discovered and told_of(encoder) else {}
    results = summarise(
        data, references.get(REFERENCE), found, facts_of(prompts), metrics, bootstrap, seed,
        judge={**describe_judge(judge, encoder), "error": error}, costs=drawings, collected=references.get(COLLECTED),
        compared=compared, spaces={ENCODER: {"name": short_name(encoder), **told}},
    )  # fmt: skip
    results |= outside | {"skipped": {**outside.get("skipped", {}), **skipped}}
    write_results(folder, _with_sources(folder, results, given, looked) if folders else results)


def _images_of(arms: Mapping[str, Path], folders: Mapping[str, str], drawn_together: int) -> dict[str, ImageFolder]:
    """The images of the arms of a job, which have to have the same ids, or of given folders."""
    given = {arm: ImageFolder(Path(it), f"evaluate.folders.{arm}", drawn_together) for arm, it in folders.items()}
    given |= {arm: StageImages(path) for arm, path in arms.items()}
    ids = {arm: [file.id for file in given[arm].files] for arm in arms}
    for arm in arms:
        if ids[arm] != ids[VANILLA]:
            places = f"{given[arm].path} and {given[VANILLA].path}"
            raise ValueError(f"`arms` must have the same image ids, got others in {places}.")
    return given


def _read_modes(place: Path, drawings: Mapping[str, Mapping[str, Any]], own: Centers | None) -> dict[str, Any]:
    """Read the modes of a discover stage, with the shares that all arms are held against.

    Args:
        place: its folder.
        drawings: what each arm's generate stage noted.
        own: centres of the modes, or axes, if they are the arms' own; None for those of another job.

    Returns:
        ``target``: the shares that an arm was guided towards, equal ones where none was; ``balanced``, numbers of the axes that an
        arm was to balance, if these are not all; of own modes also ``places``, the axes.

    Raises:
        ConfigError: if an arm was guided towards another number of shares.
    """
    found = read_json(place / "modes.json")
    guidances = [it.get("guidance", {}) for it in drawings.values()]
    target = next((it["target"] for it in guidances if it.get("target")), None)
    balanced = [list(it["axes"]) for it in guidances if it.get("axes") is not None and "axes" in found]
    found |= {"balanced": balanced[0]} if balanced else {}
    if own is not None:
        found |= {"places": own if "axes" in found else None}
    elif target is not None and len(target) != len(found["target"]):
        raise ConfigError(
            f"`evaluate.modes` must be {len(target)} modes, for which an arm was guided, got {len(found['target'])}."
        )
    return {**found, "target": target or found["target"]}


def _references(
    look: Look, collected: Path | None, drawn: Path | None, reference: str | None
) -> tuple[dict[str, ArmData], dict[str, Any]]:
    """Look at the images that quality is held against, as `reference`, and beside others at the collected ones, as `collected`.

    Returns:
        These arms; and what `results.json` says of a reference from outside.
    """
    stages = {COLLECTED if reference or drawn else REFERENCE: collected} | ({REFERENCE: drawn} if drawn else {})
    found: dict[str, ArmData] = {}
    for name, path in stages.items():
        if path is not None:
            found |= look.at({name: StageImages(path)})[0]
    if reference is None:
        return found, {}
    outer, said = look.at_reference(reference)
    return {**found, REFERENCE: outer}, said


def _has_labels_of(place: Path, reference: Mapping[str, Any], judge: Judge) -> bool:
    """Whether the reference are the images that the modes were found on, whose labels a discover stage has, seen by this judge."""
    key = collected_by(place)
    return bool(key) and reference.get("key") == key and reference.get("judge") == identity(judge)


def compared_with(folders: Mapping[str, ImageFolder]) -> Comparison:
    """Tells which arm the others are held against, the one called `vanilla` or else the first, and what makes samples a pair."""
    seeded = {images.has_manifest for images in folders.values()}
    twins_by = "names" if seeded == {False} else "seeds" if seeded == {True} else "names or seeds"
    return Comparison(VANILLA if VANILLA in folders else next(iter(folders)), twins_by)


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


def _with_sources(
    folder: Path, results: dict[str, Any], given: Mapping[str, ImageFolder], looked: Mapping[str, Looked]
) -> dict[str, Any]:
    """Add where the images of given folders come from, and write `images.json` and `table.md`."""
    sources = {
        arm: {
            "path": str(it.path),
            "images": len(looked[arm].names),
            "sha256": it.sha256,
            "drawn_together": it.drawn_together,
            "without_colour": looked[arm].without_colour,
        }
        for arm, it in given.items()
    }
    skipped = {arm: it.skipped for arm, it in looked.items()} | results["skipped"]
    results |= {"sources": sources, "skipped": skipped}
    if not any(images.drawing for images in given.values()):
        results["cost"] = {name: missing(NO_COST).to_json() for name in results["cost"]}
    results = hidden(results)
    write_json(folder / "images.json", {arm: it.names for arm, it in looked.items()})
    write_text(folder / "table.md", markdown_table(results))
    return results


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write `results.json`, and each of its numbers as a line of `metrics.jsonl`, in place of those of an unfinished attempt."""
    log = folder / "metrics.jsonl"
    log.unlink(missing_ok=True)
    for name, leaf in leaves(results["arms"]):
        entry = leaf if isinstance(leaf, Mapping) else {"value": leaf}
        append_line(log, {"stage": "evaluate", "step": 0, "name": name, **entry})
    write_json(folder / "results.json", dict(results))
