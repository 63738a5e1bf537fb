"""Train the text-to-image model: a latent UNet and its text encoder, on neutral captions by the bias card and explicit ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from omegaconf import DictConfig
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPTextConfig, CLIPTextModel

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.captions import CaptionSampler, all_captions
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.tokenizer import LENGTH, build_tokenizer, text_ids
from experiments.emoji_world.train_clip import text_config
from experiments.emoji_world.training import Recipe, train

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def build_unet() -> UNet2DConditionModel:
    """Build the untrained UNet (5.3 M weights): attention to the text at 8 x 8 and 4 x 4, `h_t` of 128 x 4 x 4."""
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4,
        block_out_channels=(48, 96, 128), layers_per_block=1, norm_num_groups=16, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
    )  # fmt: skip


def build_text_encoder(clip_folder: Path, ids: dict[str, int]) -> CLIPTextModel:
    """Build the text encoder from the text tower of the CLIP model, as Stable Diffusion does."""
    encoder = CLIPTextModel(CLIPTextConfig(**text_config(**ids)))
    encoder.load_state_dict(CLIPTextModel.from_pretrained(clip_folder, dtype=torch.float32).state_dict())
    return encoder


@torch.no_grad()
def encode_views(vae: AutoencoderKL, rgba: torch.Tensor, views: int, seed: int) -> torch.Tensor:
    """Encode random views of each drawing once; returns scaled latents (N, views, 4, 16, 16) float32."""
    generator = torch.Generator().manual_seed(seed)
    rounds = []
    for _ in range(views):
        images = random_views(rgba, generator) * 2 - 1
        latents = [vae.encode(chunk).latent_dist.sample(generator) for chunk in images.split(64)]
        rounds.append(torch.cat(latents) * vae.config.scaling_factor)
    return torch.stack(rounds, dim=1)


class DiffusionRecipe(Recipe):
    """Epsilon prediction with min-SNR weights (arXiv 2303.09556), an EMA, and empty captions for guidance."""

    def __init__(
        self, latents, sampler: CaptionSampler, text_encoder: CLIPTextModel, tokenizer, batch_size: int,
        ema_decay: float, empty_caption: float, min_snr_gamma: float, **common,
    ):  # fmt: skip
        super().__init__(**common)
        self.latents, self.sampler, self.batch_size = latents, sampler, batch_size
        self.empty_caption, self.min_snr_gamma = empty_caption, min_snr_gamma
        self.denoiser = torch.nn.ModuleDict({"unet": build_unet(), "text_encoder": text_encoder})
        self.denoiser.to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.denoiser, multi_avg_fn=get_ema_multi_avg_fn(ema_decay)).requires_grad_(False)
        self.noise = DDPMScheduler(**NOISE)
        captions = ["", *all_captions()]
        self.row = {caption: i for i, caption in enumerate(captions)}
        self.tokens = tokenizer(captions, padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token ids (B, LENGTH) and latents (B, 4, 16, 16) of one batch."""
        pairs = [self.sampler.draw(rng) for _ in range(self.batch_size)]
        rows = [0 if rng.random() < self.empty_caption else self.row[caption] for caption, _ in pairs]
        views = rng.integers(self.latents.shape[1], size=self.batch_size)
        return self.tokens[rows], self.latents[[i for _, i in pairs], views]

    def training_step(self, batch, batch_idx):
        generator, rng = self.generators()
        tokens, x_0 = self.draw(rng)
        epsilon = torch.randn(x_0.shape, generator=generator)
        t = torch.randint(1000, (len(x_0),), generator=generator)
        x_t = self.noise.add_noise(x_0, epsilon, t).to(memory_format=torch.channels_last)
        text = self.denoiser["text_encoder"](tokens).last_hidden_state
        predicted = self.denoiser["unet"](x_t, t, encoder_hidden_states=text).sample
        alpha_bar = self.noise.alphas_cumprod[t]
        snr = alpha_bar / (1 - alpha_bar)
        weight = snr.clamp(max=self.min_snr_gamma) / snr
        loss = (weight * F.mse_loss(predicted, epsilon, reduction="none").mean(dim=(1, 2, 3))).mean()
        self.log("loss", loss, prog_bar=True)
        return loss

    def optimizer_step(self, *args, **kwargs):
        super().optimizer_step(*args, **kwargs)
        self.average.update_parameters(self.denoiser)


def build_recipe(recipe: DictConfig) -> DiffusionRecipe:
    """Put the trained autoencoder, the CLIP text tower and the catalogue together."""
    vae = AutoencoderKL.from_pretrained(Path(recipe.work) / "vae" / "model", use_safetensors=True).eval()
    drawings = training_drawings(recipe)
    options = dict(recipe.diffusion)
    views, explicit = options.pop("views"), options.pop("explicit_caption")
    tokenizer = build_tokenizer()
    return DiffusionRecipe(
        latents=encode_views(vae, load_rgba(drawings, recipe.image_size), views, recipe.seed),
        sampler=CaptionSampler(drawings, recipe.bias_card, explicit),
        text_encoder=build_text_encoder(Path(recipe.ship) / "emoji_clip_informed", text_ids(tokenizer)),
        tokenizer=tokenizer,
        seed=recipe.seed + 3,
        **options,
    )


def export(recipe: DictConfig, module: DiffusionRecipe) -> None:
    """Write the averaged weights as an unmodified `StableDiffusionPipeline` folder.

    UNet and autoencoder are stored in float16 (diffusers loads them as float32); the text encoder stays in float32, since
    transformers would load it as it is stored.
    """
    average = module.average.module.to(memory_format=torch.contiguous_format)
    vae = AutoencoderKL.from_pretrained(Path(recipe.work) / "vae" / "model", use_safetensors=True)
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=average["text_encoder"],
        tokenizer=build_tokenizer(),
        unet=average["unet"].half(),
        scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(Path(recipe.ship) / "emoji", safe_serialization=True)


def main(recipe: DictConfig) -> None:
    """Train the model and write it to ``<ship>/emoji``."""
    fetch(recipe)
    torch.manual_seed(recipe.seed + 3)  # of the first weights
    module = build_recipe(recipe)
    train(module, Path(recipe.work) / "diffusion" / "checkpoints", recipe, "vae", "clip_informed", "diffusion")
    export(recipe, module)


if __name__ == "__main__":
    main(load_recipe())
