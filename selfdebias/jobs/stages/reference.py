"""The reference of the quality metrics, where it is not what collect drew: a folder of images, or what was seen of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from selfdebias.jobs.evaluation_inputs import is_file, reference_folder
from selfdebias.jobs.stages.folder_pass import look_at_folders
from selfdebias.metrics.arms import ArmData, save_arm
from selfdebias.metrics.cached import load_reference, origin_of
from selfdebias.modes.axis_sides import AxisSides
from selfdebias.storage.image_folder import ImageFolder

REFERENCE = "reference"


def outside_reference(
    reference: str,
    folder: Path,
    evaluation: Any,
    as_arm: Callable[..., ArmData],
    centers: np.ndarray | AxisSides | None,
    batch_size: int,
    trainer: Callable[..., pl.Trainer],
) -> tuple[ArmData, dict[str, Any]]:
    """Look at reference images, or read what an earlier evaluation saw of them.

    Args:
        reference: folder of images, job, or file of an earlier evaluation.
        folder: where they are saved as the arm `reference`.
        evaluation: an `Evaluation` of one set, which has seen nothing yet.
        as_arm: makes the arm from its name, the images' records and what was seen of them.
        centers: (K, d) centres of the modes, None where no modes are known.
        batch_size: images in one call of judge and encoder.
        trainer: makes the Trainer.

    Returns:
        the images; and for `results.json`, `reference` (where they come from, how many, sha256 and who looked at them) and
        `skipped` (files that could not be read).
    """
    judge, skipped = evaluation.judge, {}
    if is_file(reference):
        data, origin = load_reference(Path(reference), REFERENCE, judge, centers)
    else:
        images = ImageFolder(reference_folder(reference), "evaluate.reference")
        looked = look_at_folders(evaluation, {REFERENCE: images}, batch_size, trainer)[REFERENCE]
        data, skipped = as_arm(REFERENCE, looked.records, looked.outputs), {REFERENCE: looked.skipped}
        origin = origin_of(judge, evaluation.encoder, evaluation.extractor, images.sha256, images.key)
    save_arm(folder, data, origin)
    return data, {"reference": {**origin, "path": reference, "images": len(data)}, "skipped": skipped}
