"""Evaluate folders: measures images that any method or tool has left in folders, as evaluate measures arms."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from selfdebias.config.prompts import Prompts
from selfdebias.config.rules import ConfigError
from selfdebias.jobs.evaluation_inputs import collected_by, discover_folder
from selfdebias.jobs.stages.evaluate import describe_judge, judge_error, short_name, target_of, write_results
from selfdebias.jobs.stages.looking import Look, Looked, read_centers
from selfdebias.judges import Judge
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.cached import identity
from selfdebias.metrics.number import missing
from selfdebias.metrics.spaces import ENCODER
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary import summarise
from selfdebias.metrics.twins import VANILLA, Comparison
from selfdebias.modes.axis_sides import AxisSides
from selfdebias.report.job_table import markdown_table
from selfdebias.storage.atomic import write_json, write_text
from selfdebias.storage.hidden import hidden
from selfdebias.storage.image_folder import ImageFolder

VERSION, CONFIG = 3, ("evaluate", "judge", "encoder", "metrics", "prompts.attributes")
NO_COST = "folders of images do not say what drawing them took"


@dataclass(frozen=True)
class Found:
    """The modes of another job, none by default.

    Args:
        modes: What its discover stage wrote, with the target that is asked for.
        centers: (K, d) float64 unit centres; None where no modes are known.
        collected: Key of the collect stage whose images they were found on, "" where nothing says so.
    """

    modes: dict[str, Any] | None = None
    centers: np.ndarray | AxisSides | None = None
    collected: str = ""

    @classmethod
    def read(cls, modes: str, target: list[float] | None) -> Found:
        """Read the modes of a job or discover stage.

        Raises:
            ConfigError: If an arm was guided towards another number of shares.
        """
        folder = discover_folder(modes)
        found = json.loads((folder / "modes.json").read_text())
        if target is not None and len(target) != len(found["target"]):
            raise ConfigError(
                f"`evaluate.modes` must be {len(target)} modes, for which an arm was guided, got {len(found['target'])}."
            )
        return cls({**found, "target": target or found["target"]}, read_centers(folder), collected_by(folder))

    def fitting(self, reference: Mapping[str, Any], judge: Judge) -> dict[str, Any] | None:
        """Return the modes, with their labels only if the reference are the images that have them, seen by this judge."""
        same = reference.get("key") == self.collected and reference.get("judge") == identity(judge)
        if self.modes is None or (same and self.collected):
            return self.modes
        return {name: value for name, value in self.modes.items() if name != "labels"}


def evaluate_folders(
    folder: Path,
    folders: Mapping[str, str],
    reference: str | None,
    modes: str | None,
    drawn_together: int,
    judge: Judge,
    encoder: Callable[[Tensor], Tensor],
    metrics: MetricSuite,
    prompts: Prompts,
    batch_size: int,
    bootstrap: int,
    seed: int,
    trainer: Callable[..., pl.Trainer],
    labelled: str | None = None,
) -> None:
    """Measure folders of images as arms; write what the evaluate stage writes, `images.json` and `table.md`.

    `results.json` further has `sources` and `skipped` by arm; files that cannot be read are no error.

    Args:
        folder: where to write.
        folders: folder of each arm, by name.
        reference: folder, job or file of the reference images; None leaves out what is measured against them.
        modes: job or discover stage whose modes are used; None leaves out what is measured over modes.
        drawn_together: images, in the order of their names, that depend on each other.
        judge: images to probabilities.
        encoder: images to unit embeddings, the one that the modes were found with.
        metrics: fixed choices of the metrics.
        prompts: attributes to report.
        batch_size: images in one call of judge and encoder.
        bootstrap: resamples.
        seed: of the resampling.
        trainer: makes the Trainer.
        labelled: folder of labelled images to hold the judge against; None takes what it states of its own error.
    """
    given = {arm: ImageFolder(Path(path), f"evaluate.folders.{arm}", drawn_together) for arm, path in folders.items()}
    drawings = {arm: images.drawing for arm, images in given.items()}
    found = Found() if modes is None else Found.read(modes, target_of(drawings))
    look = Look(folder, judge, encoder, metrics.features, found.centers, batch_size, trainer)
    compared = compared_with(given)
    data, looked = look.at({compared.baseline: given[compared.baseline], **given})
    ideal: ArmData | None = None
    outside: dict[str, Any] = {"skipped": {}}
    if reference is not None:
        ideal, outside = look.at_reference(reference)
    error, skipped = judge_error(judge, labelled, batch_size, trainer)
    results = summarise(
        data, ideal, found.fitting(outside.get("reference", {}), judge),
        {"text": "", "attributes": list(prompts.attributes)}, metrics, bootstrap, seed,
        judge={**describe_judge(judge, encoder), "error": error}, costs=drawings, compared=compared,
        spaces={ENCODER: {"name": short_name(encoder)}},
    )  # fmt: skip
    _write(folder, results | outside | {"skipped": outside["skipped"] | skipped}, given, looked)


def _write(
    folder: Path, results: dict[str, Any], given: Mapping[str, ImageFolder], looked: Mapping[str, Looked]
) -> None:
    """Add where the images come from, and write all files but those of the arms."""
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
    write_results(folder, results)


def compared_with(folders: Mapping[str, ImageFolder]) -> Comparison:
    """Tells which arm the others are held against, the one called `vanilla` or else the first, and what makes twins."""
    seeded = {images.has_manifest for images in folders.values()}
    twins_by = "names" if seeded == {False} else "seeds" if seeded == {True} else "names or seeds"
    return Comparison(VANILLA if VANILLA in folders else next(iter(folders)), twins_by)
