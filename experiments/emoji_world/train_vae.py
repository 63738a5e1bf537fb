"""Train the autoencoder: 64 px images to 4 x 16 x 16 latents."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from omegaconf import DictConfig

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.training import Recipe, train


def build_vae() -> AutoencoderKL:
    """Build the untrained autoencoder (0.65 M weights)."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=64,
        mid_block_add_attention=False,
    )


class VaeRecipe(Recipe):
    """L1 + MSE reconstruction with a small KL term."""

    def __init__(self, rgba: torch.Tensor, batch_size: int, kl_weight: float, **common):
        super().__init__(**common)
        self.rgba, self.batch_size, self.kl_weight = rgba, batch_size, kl_weight
        self.vae = build_vae().to(memory_format=torch.channels_last)

    def training_step(self, batch, batch_idx):
        generator, rng = self.generators()
        rows = rng.integers(len(self.rgba), size=self.batch_size)
        x = random_views(self.rgba[rows], generator) * 2 - 1
        x = x.to(memory_format=torch.channels_last)
        posterior = self.vae.encode(x).latent_dist
        decoded = self.vae.decode(posterior.sample(generator)).sample
        reconstruction = F.l1_loss(decoded, x) + F.mse_loss(decoded, x)
        self.log("reconstruction", reconstruction, prog_bar=True)
        return reconstruction + self.kl_weight * posterior.kl().mean() / x[0].numel()


@torch.no_grad()
def set_scale(vae: AutoencoderKL, rgba: torch.Tensor, seed: int) -> None:
    """Write the latent scale into the config, so that scaled latents have unit standard deviation."""
    views = random_views(rgba, torch.Generator().manual_seed(seed)) * 2 - 1
    latents = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in views.split(64)])
    vae.register_to_config(scaling_factor=float(1 / latents.std()))


def main(recipe: DictConfig) -> None:
    """Train and save the autoencoder under ``<work>/vae``."""
    fetch(recipe)
    folder = Path(recipe.work) / "vae"
    rgba = load_rgba(training_drawings(recipe), recipe.image_size)
    torch.manual_seed(recipe.seed)  # of the first weights
    module = VaeRecipe(rgba, seed=recipe.seed, **recipe.vae)
    train(module, folder / "checkpoints", recipe, "vae")
    set_scale(module.vae, rgba, recipe.seed)
    module.vae.to(memory_format=torch.contiguous_format).save_pretrained(folder / "model")


if __name__ == "__main__":
    main(load_recipe())
