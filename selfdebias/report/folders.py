"""What the report of an evaluation of folders shows: their images, which may be of any size, and what was seen of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from selfdebias.report.material import ArmMaterial, Material, read_modes, settings
from selfdebias.report.measures import arms_of
from selfdebias.report.wording import plain
from selfdebias.storage.atomic import read_json
from selfdebias.storage.image_folder import ImageFolder
from selfdebias.storage.images import GAP_GREY, to_tensor

SIDE = 192  # px, of the largest picture of an image on the page
PARTS = ("encoder", "judge")  # of the configuration, which an evaluation of folders reads


class SmallImages:
    """The images of a folder by id, each in a square of `side` px."""

    def __init__(self, folder: ImageFolder, side: int) -> None:
        self.files = {file.id: row for row, file in enumerate(folder.files)}
        self.folder, self.side = folder, side

    def ids(self) -> list[int]:
        """See `material.Images`; also of files that cannot be read."""
        return sorted(self.files)

    def images(self, ids: Sequence[int]) -> Tensor:
        """See `material.Images`."""
        return torch.stack([to_tensor(np.array(self._square(i))) for i in ids])

    def _square(self, i: int) -> Image.Image:
        picture = Image.fromarray(self.folder.read(self.files[i]))
        picture.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
        square = Image.new("RGB", (self.side, self.side), GAP_GREY)
        square.paste(picture, ((self.side - picture.width) // 2, (self.side - picture.height) // 2))
        return square


def material_of_folders(job: Mapping[str, Any], evaluated: Path, discovered: Path | None) -> Material:
    """Reads what an evaluation of folders left.

    Args:
        job: `{"config": resolved configuration, "command": command line, "config_hash": ...}`.
        evaluated: Folder of the evaluate stage.
        discovered: Folder of the modes that were used; None where there were none.
    """
    results, given = read_json(evaluated / "results.json"), job["config"]["evaluate"]
    results["config_hash"] = job.get("config_hash", "")
    names = arms_of(results)
    folders = {name: ImageFolder(Path(given["folders"][name]), name, given["drawn_together"]) for name in names}
    side = min(SIDE, *(_side(folders[name], read) for name, read in read_json(evaluated / "images.json").items()))
    arms = {name: ArmMaterial.judged(SmallImages(it, side), evaluated, name) for name, it in folders.items()}
    arms = {name: replace(it, names={file.id: file.name for file in folders[name].files}) for name, it in arms.items()}
    found, sheets = read_modes(discovered, results) if discovered else ({}, {})
    return Material(job=job, results=results, found=found, sheets=sheets, arms=arms)


def _side(folder: ImageFolder, read: Sequence[str]) -> int:
    """The larger side of the first image that could be read."""
    row = next(row for row, file in enumerate(folder.files) if file.name == read[0])
    return max(folder.read(row).shape)


def asked_of_folders(material: Material) -> list[tuple[str, str]]:
    """What was asked of an evaluation of folders: pairs of a name and a value."""
    results, config = material.results, material.job.get("config", {})
    rows = []
    for arm in arms_of(results):
        it = results["sources"][arm]
        together = f", {it['drawn_together']} drawn together" if (it["drawn_together"] or 1) > 1 else ""
        rows.append(
            (
                f"Folder {plain(arm)}",
                f"{plain(it['path'])}: {it['images']} images{together} (sha256 {it['sha256'][:12]}...)",
            )
        )
    given = config.get("evaluate", {})
    rows += [
        (name, plain(given[key])) for name, key in (("Modes of", "modes"), ("Reference", "reference")) if given.get(key)
    ]
    return [*rows, *settings({name: config[name] for name in PARTS if name in config})]
