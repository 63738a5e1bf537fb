"""Measure the trainings of the encoder, and write its `metrics.json` and its model card."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig

from experiments.emoji_world.augment import load_rgba
from experiments.emoji_world.cards import write_clip_card
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.measure import encoder_accuracy
from experiments.emoji_world.recipe import load_recipe


def main(recipe: DictConfig) -> None:
    """Measure what `train_clip` left in ``<work>``, and write the card of the one that is shipped."""
    fetch(recipe)
    drawings = training_drawings(recipe)
    rgba = load_rgba(drawings, recipe.image_size)
    names = {f"clip-{i}": f"seed {recipe.seed + seed}" for i, seed in enumerate(recipe.clip.seeds)}
    if recipe.clip.neutral:
        names["clip-neutral"] = "on the text-to-image model's captions, neutral ones among them"
    trainings = {}
    for name, title in names.items():
        folder = Path(recipe.work) / name
        checks = json.loads((folder / "retrieval.json").read_text())
        step = max(checks, key=lambda it: (checks[it], int(it)))
        accuracy = encoder_accuracy(folder / "model", drawings, rgba, recipe.seed + 10)
        trainings[title] = {"step": int(step), "retrieval": checks[step], "zero_shot": accuracy}
    ship = Path(recipe.ship)
    metrics = {"check_every": recipe.clip.check_every, "seeds": len(recipe.clip.seeds), "trainings": trainings}
    (ship / "emoji_clip" / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_clip_card(ship)


if __name__ == "__main__":
    main(load_recipe())
