"""Train the unconditional model: a pixel-space UNet of 32 x 32 px on the people alone, by the bias card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler, UNet2DModel
from omegaconf import DictConfig
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.captions import PersonSampler
from experiments.emoji_world.catalog import Drawing
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.training import Recipe, train

NOISE = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "num_train_timesteps": 1000}


def build_unet(size: int) -> UNet2DModel:
    """Build the untrained UNet (3.4 M weights): attention at 4 x 4, `h_t` of 128 x 4 x 4 at 32 px."""
    return UNet2DModel(
        sample_size=size, in_channels=3, out_channels=3,
        block_out_channels=(24, 48, 96, 128), layers_per_block=1, norm_num_groups=8, attention_head_dim=16,
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def half_size(images: torch.Tensor) -> torch.Tensor:
    """Average 2 x 2 pixels: (B, 3, 64, 64) to (B, 3, 32, 32)."""
    return F.avg_pool2d(images, 2)


class DdpmRecipe(Recipe):
    """Epsilon prediction with min-SNR weights (arXiv 2303.09556) and an EMA, on fresh views of drawings of people.

    Args:
        rgba: (N, 4, 64, 64) premultiplied drawings.
        drawings: what they show.
        bias_card: the shares of ``bias_card.yaml``.
        batch_size: images in a step.
        ema_decay: of the weights that are shipped, in [0, 1).
        min_snr_gamma: where the signal-to-noise ratio is cut off in the weight of the loss, > 0.
        common: arguments of `Recipe`.
    """

    def __init__(
        self, rgba: torch.Tensor, drawings: Sequence[Drawing], bias_card: DictConfig, batch_size: int,
        ema_decay: float, min_snr_gamma: float, **common,
    ):  # fmt: skip
        super().__init__(**common)
        self.rgba, self.batch_size, self.min_snr_gamma = rgba, batch_size, min_snr_gamma
        self.sampler = PersonSampler(drawings, bias_card)
        self.unet = build_unet(rgba.shape[-1] // 2).to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.unet, multi_avg_fn=get_ema_multi_avg_fn(ema_decay)).requires_grad_(False)
        self.noise = DDPMScheduler(**NOISE)

    def draw(self, rng: np.random.Generator, generator: torch.Generator) -> torch.Tensor:
        """Return one batch of images (B, 3, 32, 32) in [-1, 1]."""
        rows = [self.sampler.draw(rng) for _ in range(self.batch_size)]
        return half_size(random_views(self.rgba[rows], generator)) * 2 - 1

    def training_step(self, batch, batch_idx):
        generator, rng = self.generators()
        x_0 = self.draw(rng, generator)
        epsilon = torch.randn(x_0.shape, generator=generator)
        t = torch.randint(1000, (len(x_0),), generator=generator)
        x_t = self.noise.add_noise(x_0, epsilon, t).to(memory_format=torch.channels_last)
        alpha_bar = self.noise.alphas_cumprod[t]
        snr = alpha_bar / (1 - alpha_bar)
        weight = snr.clamp(max=self.min_snr_gamma) / snr
        error = F.mse_loss(self.unet(x_t, t).sample, epsilon, reduction="none").mean(dim=(1, 2, 3))
        loss = (weight * error).mean()
        self.log("loss", loss, prog_bar=True)
        return loss

    def optimizer_step(self, *args, **kwargs):
        super().optimizer_step(*args, **kwargs)
        self.average.update_parameters(self.unet)


def export(recipe: DictConfig, module: DdpmRecipe) -> None:
    """Write the averaged weights as an unmodified `DDIMPipeline` folder, in float16 (diffusers loads them as float32)."""
    unet = module.average.module.to(memory_format=torch.contiguous_format).half()
    pipeline = DDIMPipeline(unet=unet, scheduler=DDIMScheduler(**NOISE, clip_sample=True, timestep_spacing="trailing"))
    pipeline.save_pretrained(Path(recipe.ship) / "emoji_ddpm", safe_serialization=True)


def main(recipe: DictConfig) -> None:
    """Train the model and write it to ``<ship>/emoji_ddpm``."""
    fetch(recipe)
    drawings = training_drawings(recipe)
    torch.manual_seed(recipe.seed + 4)  # of the first weights
    module = DdpmRecipe(
        load_rgba(drawings, recipe.image_size), drawings, recipe.bias_card, seed=recipe.seed + 4, **recipe.ddpm
    )
    train(module, Path(recipe.work) / "ddpm" / "checkpoints", recipe, "ddpm")
    export(recipe, module)


if __name__ == "__main__":
    main(load_recipe())
