"""Measure the shipped transformer as `measure` does the UNet, and write its `metrics.json`, sample sheet and model card."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline
from omegaconf import DictConfig

from experiments.emoji_world.cards import write_dit_card
from experiments.emoji_world.dit_text import LENGTH
from experiments.emoji_world.measure import Generator, measure_explicit, measure_neutral, measure_others, summarise
from experiments.emoji_world.recipe import load_recipe
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.storage.images import contact_sheet, generators


class Sampler:
    """Draws images with the shipped transformer.

    Args:
        folder: of the pipeline.
        steps: denoising steps.
        guidance_scale: of classifier-free guidance, >= 1.
    """

    def __init__(self, folder: Path, steps: int, guidance_scale: float):
        self.pipeline = StableDiffusion3Pipeline.from_pretrained(folder)
        self.pipeline.set_progress_bar_config(disable=True)
        self.settings = {"steps": steps, "guidance_scale": guidance_scale, "max_sequence_length": LENGTH}

    def __call__(self, captions: list[str], seeds: list[int]) -> torch.Tensor:
        """Return images (B, 3, 64, 64) in [0, 1]."""
        return self.pipeline(
            captions, num_inference_steps=self.settings["steps"], guidance_scale=self.settings["guidance_scale"],
            max_sequence_length=LENGTH, generator=generators(seeds), output_type="pt",
        ).images  # fmt: skip


def main(recipe: DictConfig) -> None:
    """Measure, and write the card."""
    folder = Path(recipe.ship) / "emoji_dit"
    sampler = Sampler(folder, **recipe.measure_dit)
    draw = Generator(sampler, EmojiJudge(str(Path(recipe.ship) / "emoji_judge")))
    rows, sheets = measure_neutral(draw, recipe)
    others, more = measure_others(draw, recipe)
    metrics = {
        "neutral": rows, "others": others, "summary": summarise(rows), "explicit": measure_explicit(draw, recipe),
        "settings": dict(recipe.measure) | sampler.settings, "training": dict(recipe.dit),
    }  # fmt: skip
    columns = recipe.measure.sheet_columns // 2
    images = torch.cat([prompt[:columns] for prompt in (*sheets.values(), *more.values())])
    contact_sheet(images, columns).quantize(256).save(folder / "samples.png", optimize=True)  # a third of the bytes
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_dit_card(Path(recipe.ship))
    print(json.dumps({key: metrics[key] for key in ("summary", "explicit")}, indent=1))


if __name__ == "__main__":
    main(load_recipe())
