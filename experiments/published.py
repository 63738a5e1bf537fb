"""Architectures of the real models, as their published configuration files state them, for benchmarks on random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

SD_UNET: dict[str, Any] = {
    "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8, "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}  # fmt: skip
SD2_UNET: dict[str, Any] = {
    **SD_UNET, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
}  # fmt: skip
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128, "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
    "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10), "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
DDPM_UNET: dict[str, Any] = {
    "sample_size": 256, "block_out_channels": (128, 128, 256, 256, 512, 512), "layers_per_block": 2,
    "attention_head_dim": None, "downsample_padding": 0,
    "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
}  # fmt: skip
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 512, "scaling_factor": 0.18215,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip

SD3_TRANSFORMER: dict[str, Any] = {
    "sample_size": 128, "num_layers": 24, "num_attention_heads": 24, "attention_head_dim": 64, "caption_projection_dim": 1536,
    "joint_attention_dim": 4096, "pooled_projection_dim": 2048, "pos_embed_max_size": 192,
}  # fmt: skip


def text_encoder(width: int, layers: int, heads: int, projected: bool = False) -> nn.Module:
    """Build a CLIP text encoder: ViT-L/14's is 768 wide, OpenCLIP ViT-H/14's 1024, ViT-bigG/14's 1280."""
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
        projection_dim=width,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


PARTS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "sd15, sd14": {
        "UNet": lambda: UNet2DConditionModel(**SD_UNET), "text": lambda: text_encoder(768, 12, 12),
        "VAE": lambda: AutoencoderKL(**VAE),
    },
    "sd2": {
        "UNet": lambda: UNet2DConditionModel(**SD2_UNET), "text": lambda: text_encoder(1024, 23, 16),
        "VAE": lambda: AutoencoderKL(**VAE),
    },
    "sd2_v": {
        "UNet": lambda: UNet2DConditionModel(**{**SD2_UNET, "sample_size": 96}), "text": lambda: text_encoder(1024, 23, 16),
        "VAE": lambda: AutoencoderKL(**VAE),
    },
    "sdxl": {
        "UNet": lambda: UNet2DConditionModel(**SDXL_UNET),
        "text": lambda: nn.ModuleList([text_encoder(768, 12, 12), text_encoder(1280, 32, 20, projected=True)]),
        "VAE": lambda: AutoencoderKL(**VAE),
    },
    "ddpm_celebahq, ddpm_cat, ddpm_church": {"UNet": lambda: UNet2DModel(**DDPM_UNET)},
}  # fmt: skip
