"""Train the informed CLIP model of Emoji World: its loss is told the attributes of each drawing, and gender counts twice.

It stands beside `train_clip`, whose loss is CLIP's own, to show what an encoder that was told attributes finds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.captions import full_caption
from experiments.emoji_world.catalog import TONES, Drawing
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.tokenizer import LENGTH, build_tokenizer, text_ids
from experiments.emoji_world.train_clip import build_clip, save_clip
from experiments.emoji_world.training import Recipe, train

# How much each attribute counts in the likeness of two captions; gender is in the head noun of every caption of a person.
WEIGHTS = {
    "gender": 2.0, "kind": 1.0, "age": 1.0, "tone": 1.0, "hair": 1.0, "occupation": 1.0,
    "animal": 1.0, "creature": 1.0, "place": 1.0,
}  # fmt: skip


def shared_attributes(drawings: list[Drawing]) -> torch.Tensor:
    """Return the weighted share of attributes (N, N) that two drawings agree on, float32 in [0, 1].

    Tones agree by degree, since neighbouring tones look alike: one minus a quarter of their distance.
    """
    agreement = sum(weight * _agreement(drawings, name) for name, weight in WEIGHTS.items())
    return torch.from_numpy(agreement / sum(WEIGHTS.values())).float()


def _agreement(drawings: list[Drawing], name: str) -> np.ndarray:
    values = np.array([d.kind if name == "kind" else d.get(name) for d in drawings])
    equal = np.equal.outer(values, values).astype(float)
    if name != "tone":
        return equal
    position = np.array([TONES.index(value) if value else np.nan for value in values])
    near = 1 - np.abs(np.subtract.outer(position, position)) / (len(TONES) - 1)
    return np.where(np.isnan(near), equal, near)


class InformedClipRecipe(Recipe):
    """The contrastive loss with soft targets: captions that share attributes are near, not wrong."""

    def __init__(self, rgba: torch.Tensor, drawings: list[Drawing], batch_size: int, temperature: float, **common):
        super().__init__(**common)
        self.rgba, self.batch_size = rgba, batch_size
        self.soft_targets = shared_attributes(drawings) / temperature
        self.tokenizer = build_tokenizer()
        captions = [full_caption(d) for d in drawings]
        self.tokens = self.tokenizer(captions, padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
        self.clip = build_clip(text_ids(self.tokenizer))

    def training_step(self, batch, batch_idx):
        generator, rng = self.generators()
        rows = torch.from_numpy(rng.choice(len(self.rgba), size=self.batch_size, replace=False))
        views = random_views(self.rgba[rows], generator)
        output = self.clip(input_ids=self.tokens[rows], pixel_values=views * 2 - 1)
        soft = self.soft_targets[rows][:, rows].softmax(dim=1)
        loss = F.cross_entropy(output.logits_per_image, soft) + F.cross_entropy(output.logits_per_text, soft)
        self.log("loss", loss, prog_bar=True)
        return loss


def main(recipe: DictConfig) -> None:
    """Train the model and write it, with tokenizer and image processor, to ``<ship>/emoji_clip_informed``."""
    fetch(recipe)
    drawings = training_drawings(recipe)
    rgba = load_rgba(drawings, recipe.image_size)
    torch.manual_seed(recipe.seed + 2)  # of the first weights
    module = InformedClipRecipe(rgba, drawings, seed=recipe.seed + 2, **recipe.clip_informed)
    train(module, Path(recipe.work) / "clip_informed" / "checkpoints", recipe, "clip_informed")
    save_clip(module.clip, module.tokenizer, Path(recipe.ship) / "emoji_clip_informed")


if __name__ == "__main__":
    main(load_recipe())
