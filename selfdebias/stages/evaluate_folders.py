"""Evaluate folders: measures images that any method or tool has left in folders, with the same judge, encoder and metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from selfdebias.evaluation_inputs import collected_by, discover_folder
from selfdebias.judges import Judge
from selfdebias.metrics.arms import ArmData, save_arm
from selfdebias.metrics.cached import identity, origin_of
from selfdebias.metrics.entries import missing
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary import summarise
from selfdebias.metrics.twins import VANILLA, Comparison
from selfdebias.prompts import Prompts
from selfdebias.report.skipped import skipped_in_words
from selfdebias.report.table import markdown_table
from selfdebias.rules import ConfigError
from selfdebias.stages import evaluate as own
from selfdebias.stages.folder_pass import look_at_folders
from selfdebias.storage.atomic import write_json, write_text
from selfdebias.storage.image_folder import ImageFolder

VERSION = 1
CONFIG = ("evaluate", "judge", "encoder", "metrics", "prompts.attributes")
NO_COST = "folders of images do not say what drawing them took"


@dataclass(frozen=True)
class Found:
    """The modes of another job.

    Args:
        modes: What its discover stage wrote, with the target that is asked for.
        centers: (K, d) float64 unit centres; None where no modes are known.
        collected: Key of the collect stage whose images they were found on, "" where nothing says so.
    """

    modes: dict[str, Any] | None = None
    centers: np.ndarray | None = None
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
        return cls({**found, "target": target or found["target"]}, own._centers(folder), collected_by(folder))


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
    """
    given = {
        arm: ImageFolder(Path(path).expanduser(), f"evaluate.folders.{arm}", drawn_together)
        for arm, path in folders.items()
    }
    drawings = {arm: images.drawing for arm, images in given.items()}
    found = Found() if modes is None else Found.read(modes, own.target_of(drawings))
    compared = compared_with(given)
    arms, more = _look(folder, given, compared.baseline, found, judge, encoder, batch_size, trainer)
    ideal, outside, kept_labels = None, {"skipped": {}}, False
    if reference is not None:
        ideal, outside = own.outside_reference(reference, folder, found.centers, judge, encoder, batch_size, trainer)
    results = summarise(
        arms, ideal, _with_fitting_labels(found, folder, judge), {"text": "", "attributes": list(prompts.attributes)},
        metrics, bootstrap, seed, judge=own._describe(judge, encoder), costs=drawings, compared=compared,
    )  # fmt: skip
