"""Measure the shipped unconditional model, and write its `metrics.json`, sample sheet and model card."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from omegaconf import DictConfig

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.cards import write_ddpm_card
from experiments.emoji_world.catalog import Drawing
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.train_ddpm import half_size
from experiments.emoji_world.train_judge import CLASSES, targets
from selfdebias.config.compose import load
from selfdebias.config.sources import read_option
from selfdebias.config.targets import make
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.storage.images import contact_sheet, image_seeds

ATTRIBUTES = ("gender", "age", "tone")
BATCH = 32


def judge_accuracy(judge: EmojiJudge, drawings: list[Drawing], rgba: torch.Tensor, seed: int) -> dict[str, float]:
    """Return the judge's accuracy on fresh views of 32 x 32 px, which it scales up, by attribute."""
    said = judge(half_size(random_views(rgba, torch.Generator().manual_seed(seed))))
    wanted = targets(drawings)
    return {name: float((said[name].argmax(dim=1) == wanted[name]).float().mean()) for name in ATTRIBUTES}


def card_shares(bias_card: DictConfig) -> dict[str, dict[str, float]]:
    """Return the shares that the model was trained on, by attribute."""
    male = float(bias_card.unconditional.male)
    return {"gender": {"man": male, "woman": 1 - male}, "age": dict(bias_card.ages), "tone": dict(bias_card.tones)}


def draw(recipe: DictConfig, *overrides: str) -> torch.Tensor:
    """Return the images (N, 3, 32, 32) that are measured, drawn as ``model=emoji_ddpm`` draws them, with overrides."""
    described = load(["model=emoji_ddpm", *overrides])["model"] | {"pretrained": str(Path(recipe.ship) / "emoji_ddpm")}
    backbone = make({"model": described}, "model")
    pipeline = backbone.load()
    seeds = image_seeds("measure unconditional", 0, range(recipe.measure.unconditional_images))
    parts = [seeds[i : i + BATCH] for i in range(0, len(seeds), BATCH)]
    return torch.cat([backbone.generate(pipeline, [""] * len(part), part) for part in parts])


def main(recipe: DictConfig) -> None:
    """Measure, and write the card."""
    fetch(recipe)
    ship = Path(recipe.ship)
    judge = EmojiJudge(str(ship / "emoji_judge"))
    people = [drawing for drawing in training_drawings(recipe) if drawing.kind == "person"]
    images = draw(recipe)
    said = judge(images)
    men = {
        eta: float((judge(draw(recipe, f"model.eta={eta}"))["gender"].argmax(dim=1) == 0).float().mean())
        for eta in (0.0, 1.0)
    }
    generated = {
        name: {c: float((said[name].argmax(dim=1) == i).float().mean()) for i, c in enumerate(CLASSES[name])}
        for name in ATTRIBUTES
    }
    asked = read_option("model", "emoji_ddpm")
    metrics = {
        "card": card_shares(recipe.bias_card), "generated": generated, "images": len(images),
        "confidence": {name: float(said[name].max(dim=1).values.mean()) for name in ATTRIBUTES},
        "judge": judge_accuracy(judge, people, load_rgba(people, recipe.image_size), recipe.seed + 11),
        "drawings": len(people), "men_at_eta": men,
        "settings": {name: asked[name] for name in ("steps", "eta")}, "training": dict(recipe.ddpm),
    }  # fmt: skip
    columns = recipe.measure.sheet_columns
    sheet = contact_sheet(images[: 4 * columns].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), columns)
    sheet.save(ship / "emoji_ddpm" / "samples.png", optimize=True)
    (ship / "emoji_ddpm" / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_ddpm_card(ship)
    print(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    main(load_recipe())
