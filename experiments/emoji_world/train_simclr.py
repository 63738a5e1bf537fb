"""Train the encoder of Emoji World that sees images alone: two views of one drawing are near, those of all others are far.

It is told no caption and no attribute. A crop and a change of colours make the views; nothing is held out and the last weights are
kept, since there is nothing that a choice could go by.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn
from transformers import CLIPImageProcessor, Dinov2Config, Dinov2Model

from experiments.emoji_world.augment import crops_and_colours, load_rgba, random_views
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.train_clip import MEAN, STD
from experiments.emoji_world.training import Recipe, train


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Return SimCLR's loss of two views of a batch: each view has to find the other one of its drawing among all 2 B - 1.

    Args:
        a, b: (B, d) float32, unit vectors.
        temperature: that the cosines are divided by, > 0.

    References:
        Chen et al., A simple framework for contrastive learning of visual representations, arXiv 2002.05709, equation 1.
    """
    z = torch.cat([a, b])
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(a)))


class SimClrRecipe(Recipe):
    """SimCLR on the drawings.

    Args:
        rgba: (N, 4, H, W) the drawings, as of `load_rgba`.
        batch_size: drawings in a batch, all alike likely.
        temperature: of the loss.
        common: arguments of `Recipe`.
    """

    def __init__(self, rgba: Tensor, batch_size: int, temperature: float, **common):
        super().__init__(**common)
        self.rgba, self.batch_size, self.temperature = rgba, batch_size, temperature
        shape = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "mlp_ratio": 3}
        self.encoder = Dinov2Model(Dinov2Config(image_size=64, patch_size=8, **shape))
        self.head = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64))

    def training_step(self, batch, batch_idx):
        generator, rng = self.generators()
        rows = torch.from_numpy(rng.choice(len(self.rgba), size=self.batch_size, replace=False)).repeat(2)
        views = crops_and_colours(random_views(self.rgba[rows], generator), generator)
        z = F.normalize(self.head(self.encoder(views * 2 - 1).pooler_output), dim=1)
        loss = nt_xent(*z.chunk(2), self.temperature)
        self.log("loss", loss, prog_bar=True)
        return loss


def main(recipe: DictConfig) -> None:
    """Train it, and write it in float16 without its head; it is read, and used, in float32."""
    fetch(recipe)
    options = {key: value for key, value in recipe.simclr.items() if key != "seed"}
    seed, folder = recipe.seed + recipe.simclr.seed, Path(recipe.ship) / "emoji_simclr"
    torch.manual_seed(seed)  # of the first weights
    module = SimClrRecipe(load_rgba(training_drawings(recipe), recipe.image_size), seed=seed, **options)
    train(module, Path(recipe.work) / "simclr", recipe, "simclr")
    module.encoder.half().save_pretrained(folder)
    side = {"height": 64, "width": 64}
    CLIPImageProcessor(size=side, crop_size=side, image_mean=MEAN, image_std=STD).save_pretrained(folder)


if __name__ == "__main__":
    main(load_recipe())
