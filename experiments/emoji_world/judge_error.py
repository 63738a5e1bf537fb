"""The judge's confusion matrix on fresh views of the drawings, as a labelled folder; written beside its weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from omegaconf import DictConfig

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.catalog import Drawing
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.train_judge import CLASSES
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.judges.labelled import measure_confusion
from selfdebias.storage.images import encode_png

IMAGES = (
    "fresh views of the drawings that Emoji World is trained on (other shift, size, flip and background; 64 x 64 px), "
    "none of them generated"
)


def write_labelled(folder: Path, drawings: list[Drawing], rgba: torch.Tensor, images: int, seed: int) -> None:
    """Write ``<folder>/<attribute>/<class>/*.png``: each drawing that shows the attribute in as many views as any other.

    Args:
        folder: where to write; what is there is replaced.
        drawings: what to show.
        rgba: (N, 4, H, W) the drawings, as `load_rgba` reads them.
        images: least number for each attribute that a drawing shows.
        seed: of the views.
    """
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(seed)
    for attribute in CLASSES:
        rows = [row for row, drawing in enumerate(drawings) if drawing.get(attribute)]
        for view in range(-(-images // len(rows)) if rows else 0):
            for row, picture in zip(rows, random_views(rgba[rows], generator), strict=True):
                file = folder / attribute / drawings[row].get(attribute) / f"{row:04d}-{view:02d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(encode_png(picture))


def main(recipe: DictConfig) -> None:
    """Measure the shipped judge on a labelled folder, and write ``<ship>/emoji_judge/confusion.json``."""
    fetch(recipe)
    drawings = training_drawings(recipe)
    labelled = Path(recipe.work) / "labelled"
    rgba = load_rgba(drawings, recipe.image_size)
    write_labelled(labelled, drawings, rgba, recipe.judge_error.images, recipe.seed + 11)
    folder = Path(recipe.ship) / "emoji_judge"
    judge = EmojiJudge(str(folder))
    found = measure_confusion(judge, labelled, batch_size=256)
    rows = {name: {"counts": it.counts, "unclassified": it.unclassified} for name, it in found.items()}
    stated = {"images": IMAGES, "threshold": judge.threshold, "attributes": rows}
    (folder / "confusion.json").write_text(_one_row_a_line(json.dumps(stated)) + "\n")
    for name, it in found.items():
        print(f"{name}: accuracy {it.accuracy:.4f} on {it.n} images, {it.unclassified} unclassified")


def _one_row_a_line(text: str) -> str:
    return text.replace("], [", "],\n  [").replace("}, ", "},\n ").replace('"attributes": {', '"attributes": {\n ')


if __name__ == "__main__":
    main(load_recipe())
