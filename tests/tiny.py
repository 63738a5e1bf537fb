"""A real `StableDiffusionPipeline` with narrow random weights: 8 x 8 latents, 32 px images."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer


def tiny_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
    )  # fmt: skip


def tiny_tokenizer() -> CLIPTokenizer:
    letters = [chr(c) + end for c in range(ord("a"), ord("z") + 1) for end in ("", "</w>")]
    start, end = "<|startoftext|>", "<|endoftext|>"
    vocab = {token: i for i, token in enumerate([start, end, *letters])}
    return CLIPTokenizer(
        vocab=vocab, merges=[], bos_token=start, eos_token=end, unk_token=end, pad_token=end, model_max_length=16
    )


def tiny_pipeline(seed: int = 0, unet: UNet2DConditionModel | None = None) -> StableDiffusionPipeline:
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8), norm_num_groups=4, latent_channels=4, sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        mid_block_add_attention=False,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet or tiny_unet(),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def redrawn(pipeline: StableDiffusionPipeline, seed: int) -> StableDiffusionPipeline:
    """The pipeline with weights that are the same under all versions of the libraries, which draw in orders of their own."""
    generator = torch.Generator().manual_seed(seed)
    for part in (pipeline.text_encoder, pipeline.unet):
        for name, weight in sorted(part.named_parameters()):
            if weight.dim() > 1:
                weight.data = torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5
            else:
                weight.data = torch.full(weight.shape, 0.0 if name.endswith("bias") else 1.0)
    return pipeline


def sample(
    pipeline: StableDiffusionPipeline, seeds: list[int], scale: float = 3.0, steps: int = 3, prompt: str = "a person"
) -> torch.Tensor:
    """Return images (B, H, W, 3) in [0, 1] of a prompt, one seed each."""
    images = pipeline(
        [prompt] * len(seeds),
        num_inference_steps=steps,
        guidance_scale=scale,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
    ).images
    return torch.from_numpy(images)
