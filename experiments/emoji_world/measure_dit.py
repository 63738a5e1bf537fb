"""Measure the shipped transformer as `measure` does the UNet, and write its `metrics.json`, sample sheet and model card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline
from omegaconf import DictConfig, OmegaConf

from experiments.emoji_world.captions import CaptionSampler
from experiments.emoji_world.cards import write_dit_card
from experiments.emoji_world.dit_text import LENGTH
from experiments.emoji_world.fetch import training_drawings
from experiments.emoji_world.measure import Generator, measure_explicit, measure_neutral, measure_others, summarise
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.train_dit import stored_latents
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


@torch.no_grad()
def judged_in_training(draw: Generator, recipe: DictConfig, vae: AutoencoderKL, captions: set[str]) -> dict[str, float]:
    """Return, by neutral caption, the share of men that the judge sees in decoded training latents: the most a model can learn.

    Args:
        draw: has the judge.
        recipe: of Emoji World; `measure_dit.training_images` of each caption are judged.
        vae: the autoencoder.
        captions: that are asked for, all neutral.
    """
    latents, sampler = stored_latents(recipe, vae), CaptionSampler(training_drawings(recipe), recipe.bias_card, 0.0)
    rng, n = np.random.default_rng(recipe.seed), recipe.measure_dit.training_images
    drawn: dict[str, list[int]] = {text: [] for text in sorted(captions)}
    while any(len(own) < n for own in drawn.values()):
        text, place = sampler.draw(rng)
        if len(drawn.get(text, range(n))) < n:
            drawn[text].append(place)
    found = {}
    for text, places in drawn.items():
        z = latents[places, rng.integers(latents.shape[1], size=n)] / vae.config.scaling_factor
        images = torch.cat([vae.decode(part).sample for part in z.split(32)])
        found[text] = draw.shares((images / 2 + 0.5).clamp(0, 1), "gender")["man"]
    return found


def main(recipe: DictConfig) -> None:
    """Measure, and write the card."""
    folder = Path(recipe.ship) / "emoji_dit"
    recipe = OmegaConf.merge(recipe, {"measure": recipe.measure_dit})
    sampler = Sampler(folder, recipe.measure.steps, recipe.measure.guidance_scale)
    draw = Generator(sampler, EmojiJudge(str(Path(recipe.ship) / "emoji_judge")))
    rows, sheets = measure_neutral(draw, recipe)
    judged = judged_in_training(draw, recipe, sampler.pipeline.vae, set(rows))
    rows = {text: {**row, "judged_in_training": judged[text]} for text, row in rows.items()}
    near = [abs(row["male"] - row["judged_in_training"]) <= 0.15 for row in rows.values()]
    others, more = measure_others(draw, recipe)
    metrics = {
        "neutral": rows, "others": others, "summary": {**summarise(rows), "share_judged_in_training": sum(near) / len(near)},
        "explicit": measure_explicit(draw, recipe),
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
