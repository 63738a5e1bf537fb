"""Train the text-to-image transformer: shaped as Stable Diffusion 3, on the captions, drawings and latents of `train_diffusion`.

It reads the shipped autoencoder and text encoder of `emoji`, and trains nothing but the transformer.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.training_utils import compute_density_for_timestep_sampling
from omegaconf import DictConfig
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from experiments.emoji_world.augment import load_rgba
from experiments.emoji_world.captions import CaptionSampler, all_captions
from experiments.emoji_world.dit_text import JOINT, build_text, caption_features
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.train_diffusion import encode_views
from experiments.emoji_world.training import Recipe, train

HEAD_WIDTH = 32
SIDE, PATCH = 16, 2  # of the latents, and of a token


def build_transformer(blocks: int, heads: int) -> SD3Transformer2DModel:
    """Build the untrained transformer (4.1 M weights at 7 blocks of 4 heads): 64 image tokens."""
    return SD3Transformer2DModel(
        sample_size=SIDE, patch_size=PATCH, in_channels=4, out_channels=4,
        num_layers=blocks, num_attention_heads=heads, attention_head_dim=HEAD_WIDTH,
        joint_attention_dim=JOINT, caption_projection_dim=heads * HEAD_WIDTH, pooled_projection_dim=JOINT,
        pos_embed_max_size=SIDE // PATCH, qk_norm="rms_norm",
    )  # fmt: skip


@torch.no_grad()
def initialise(transformer: SD3Transformer2DModel, tokens: Tensor) -> None:
    """Start as DiT does: each block is the identity, the prediction is 0, and the text arrives with unit variance by channel.

    Args:
        transformer: changed in place.
        tokens: (N, L, JOINT) what it will be told of captions.

    References:
        Peebles and Xie, Scalable diffusion models with transformers, arXiv 2212.09748, section 3.2 (adaLN-Zero).
    """
    for module in transformer.transformer_blocks.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    modulations = [
        m for name, m in transformer.named_modules() if name.endswith(("norm1.linear", "norm1_context.linear"))
    ]
    for module in (*modulations, transformer.norm_out.linear, transformer.proj_out):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
    embedder = transformer.context_embedder
    nn.init.xavier_uniform_(embedder.weight)
    embedder.weight /= tokens.var(dim=0).mean(dim=0).sqrt()  # the variance among captions, not that among positions
    embedder.bias.copy_(-embedder.weight @ tokens.mean(dim=(0, 1)))


class DitRecipe(Recipe):
    """Rectified flow: the velocity `noise - x_0`, logit-normal timesteps, an EMA, and empty captions for guidance.

    Args:
        latents: (N, views, 4, 16, 16) float32, scaled.
        sampler: draws (caption, drawing) pairs.
        captions: all captions that it draws, and the empty one, which comes first.
        features: of the captions: tokens (C, L, JOINT) and pooled (C, JOINT).
        blocks: of the transformer.
        heads: of its attention.
        batch_size: images in a step.
        ema_decay: of the weights that are shipped, in [0, 1).
        empty_caption: share of captions that are emptied, in [0, 1).
        logit_mean: of the timesteps' logit.
        logit_std: of the timesteps' logit, > 0.
        shift: of the timesteps, > 0.
        common: arguments of `Recipe`.

    References:
        Esser et al., Scaling rectified flow transformers, arXiv 2403.03206, sections 2 and 3.1.
    """

    def __init__(
        self, latents: Tensor, sampler: CaptionSampler, captions: list[str], features: tuple[Tensor, Tensor],
        blocks: int, heads: int, batch_size: int, ema_decay: float, empty_caption: float,
        logit_mean: float, logit_std: float, shift: float, **common,
    ):  # fmt: skip
        super().__init__(**common)
        self.latents, self.sampler, self.features = latents, sampler, features
        self.row = {caption: i for i, caption in enumerate(captions)}
        self.batch_size, self.empty_caption, self.shift = batch_size, empty_caption, shift
        self.density = {"logit_mean": logit_mean, "logit_std": logit_std}
        torch.manual_seed(self.seed)  # of the first weights
        self.transformer = build_transformer(blocks, heads)
        initialise(self.transformer, features[0])
        self.average = AveragedModel(self.transformer, multi_avg_fn=get_ema_multi_avg_fn(ema_decay)).requires_grad_(
            False
        )

    def draw(self, rng: np.random.Generator) -> tuple[list[int], Tensor]:
        """Return the rows of the captions, and latents (B, 4, 16, 16), of one batch."""
        pairs = [self.sampler.draw(rng) for _ in range(self.batch_size)]
        rows = [0 if rng.random() < self.empty_caption else self.row[caption] for caption, _ in pairs]
        views = rng.integers(self.latents.shape[1], size=self.batch_size)
        return rows, self.latents[[i for _, i in pairs], views]

    def training_step(self, batch, batch_idx):
        generator, rng = self.generators()
        rows, x_0 = self.draw(rng)
        noise = torch.randn(x_0.shape, generator=generator)
        u = compute_density_for_timestep_sampling("logit_normal", len(x_0), **self.density, generator=generator)
        sigma = self.shift * u / (1 + (self.shift - 1) * u)
        x_t = torch.lerp(x_0, noise, sigma[:, None, None, None])
        tokens, pooled = (features[rows] for features in self.features)
        predicted = self.transformer(x_t, tokens, pooled, timestep=1000 * sigma).sample
        loss = F.mse_loss(predicted, noise - x_0)
        self.log("loss", loss, prog_bar=True)
        return loss

    def optimizer_step(self, *args, **kwargs):
        super().optimizer_step(*args, **kwargs)
        self.average.update_parameters(self.transformer)


def stored_latents(recipe: DictConfig, vae: AutoencoderKL) -> Tensor:
    """Return the latents (N, views, 4, 16, 16) of `encode_views`; they are encoded once, and kept in ``<work>/dit``."""
    path = Path(recipe.work) / "dit" / "latents.safetensors"
    views, seed = recipe.dit.views, recipe.seed
    weights = sum(float(p.detach().double().abs().sum()) for p in vae.parameters())
    made_by = {"made_by": json.dumps([views, seed, recipe.image_size, round(weights, 3)])}
    if path.exists():
        with safe_open(path, "pt") as file:
            if file.metadata() == made_by:
                return file.get_tensor("latents")
    path.parent.mkdir(parents=True, exist_ok=True)
    latents = encode_views(vae, load_rgba(training_drawings(recipe), recipe.image_size), views, seed)
    unfinished = path.with_suffix(".part")
    save_file({"latents": latents}, unfinished, made_by)
    unfinished.replace(path)
    return latents


def build_pipeline(recipe: DictConfig, transformer: SD3Transformer2DModel) -> StableDiffusion3Pipeline:
    """Put a transformer, the shipped autoencoder and the text encoders together."""
    emoji = Path(recipe.ship) / "emoji"
    vae = AutoencoderKL.from_pretrained(emoji / "vae", use_safetensors=True).eval()
    vae.register_to_config(shift_factor=0.0)  # of which the pipeline wants a number
    scheduler = FlowMatchEulerDiscreteScheduler(shift=recipe.dit.shift)
    text = build_text(emoji / "text_encoder", recipe.seed + 5)
    return StableDiffusion3Pipeline(transformer=transformer, scheduler=scheduler, vae=vae, **text)


def build_recipe(recipe: DictConfig) -> DitRecipe:
    """Encode captions and drawings once, and put the training together."""
    options = {key: value for key, value in recipe.dit.items() if key not in ("views", "explicit_caption")}
    pipeline = build_pipeline(recipe, build_transformer(recipe.dit.blocks, recipe.dit.heads))
    captions = ["", *all_captions()]
    return DitRecipe(
        latents=stored_latents(recipe, pipeline.vae),
        sampler=CaptionSampler(training_drawings(recipe), recipe.bias_card, recipe.dit.explicit_caption),
        captions=captions,
        features=caption_features(pipeline, captions),
        seed=recipe.seed + 5,
        **options,
    )


def export(recipe: DictConfig, module: DitRecipe) -> None:
    """Write the averaged weights as an unmodified `StableDiffusion3Pipeline` folder, in float16; they are loaded as float32.

    diffusers loads its models so whatever is stored; the text encoders are loaded as their configuration says.
    """
    folder = Path(recipe.ship) / "emoji_dit"
    pipeline = build_pipeline(recipe, module.average.module)
    for part in (
        pipeline.transformer,
        pipeline.vae,
        pipeline.text_encoder,
        pipeline.text_encoder_2,
        pipeline.text_encoder_3,
    ):
        part.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    for path in folder.glob("text_encoder*/config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def main(recipe: DictConfig) -> None:
    """Train the model and write it to ``<ship>/emoji_dit``."""
    fetch(recipe)
    module = build_recipe(recipe)
    train(module, Path(recipe.work) / "dit" / "checkpoints", recipe, "dit")
    export(recipe, module)


if __name__ == "__main__":
    main(load_recipe())
