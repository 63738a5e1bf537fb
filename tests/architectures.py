"""Real architectures, narrowed: block types, head settings, text encoders, schedulers and scaling factors of the published
configurations, with few channels and random weights. Random weights have no modes: what runs on them is the plumbing alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)  # fmt: skip
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)  # fmt: skip

from tests.tiny import tiny_tokenizer

# By entry, the pipeline of `tests.transformers`.
TRANSFORMERS = {
    "sd3_medium": "sd3",
    "sd35_medium": "sd3",
    "pixart_sigma": "pixart",
    "flux_schnell": "flux",
    "sana_600m": "sana",
}
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
LENGTH = 16  # tokens; the published models take 77


def text_config(width: int, act: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tiny_tokenizer()), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=LENGTH, hidden_act=act, projection_dim=width, **IDS,
    )  # fmt: skip


def vae(scale: float, **options) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 8, 8, 8), layers_per_block=2, norm_num_groups=4, latent_channels=4, sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=scale, **options,
    )  # fmt: skip


def sd_unet(sample_size: int = 8, **options) -> UNet2DConditionModel:
    """Stable Diffusion 1.x's UNet, 1/40 as wide; `options` are what 2.x has otherwise."""
    return UNet2DConditionModel(**{
        "sample_size": sample_size, "block_out_channels": (8, 16, 32, 32), "layers_per_block": 2, "norm_num_groups": 4,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3, "attention_head_dim": 2, "cross_attention_dim": 16,
        **options,
    })  # fmt: skip


V2 = {"attention_head_dim": (1, 2, 4, 4), "use_linear_projection": True}


def stable_diffusion(entry: str) -> StableDiffusionPipeline:
    """`sd15`, `sd14`, `sd2` or `sd2_v`."""
    torch.manual_seed(0)
    schedulers = {
        "sd2_v": DDIMScheduler(
            **NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction"
        )
    }
    pndm = PNDMScheduler(**NOISE, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1)
    options = {"sd2": V2, "sd2_v": {**V2, "upcast_attention": True, "sample_size": 12}}.get(entry, {})
    return StableDiffusionPipeline(
        vae=vae(0.18215),
        text_encoder=CLIPTextModel(text_config(16, "gelu" if entry.startswith("sd2") else "quick_gelu")),
        tokenizer=tiny_tokenizer(),
        unet=sd_unet(**options),
        scheduler=schedulers.get(entry, pndm),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    torch.manual_seed(0)
    unet = sd_unet(
        block_out_channels=(8, 16, 32), attention_head_dim=(1, 2, 4), use_linear_projection=True, cross_attention_dim=40,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=(1, 1, 2),
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=24 + 6 * 8,
    )  # fmt: skip
    euler = EulerDiscreteScheduler(**NOISE, timestep_spacing="leading", steps_offset=1)
    return StableDiffusionXLPipeline(
        vae=vae(0.13025, force_upcast=True), text_encoder=CLIPTextModel(text_config(16, "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(text_config(24, "gelu")), tokenizer=tiny_tokenizer(),
        tokenizer_2=tiny_tokenizer(), unet=unet, scheduler=euler,
    )  # fmt: skip


def ddpm(prediction: str = "epsilon") -> DDPMPipeline:
    """Google's 256 px models: six levels, attention at one."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=64, block_out_channels=(8, 8, 16, 16, 32, 32), layers_per_block=2, norm_num_groups=4, norm_eps=1e-6,
        attention_head_dim=None, freq_shift=1, flip_sin_to_cos=False, downsample_padding=0,
        down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    )  # fmt: skip
    return DDPMPipeline(unet, DDPMScheduler(beta_start=0.0001, beta_end=0.02, prediction_type=prediction))


def save_model(entry: str, folder: Path) -> Path:
    """Save what a `model` entry loads; the two oldest unconditional ones lie at the top of their folder."""
    if entry.startswith("ddpm"):
        ddpm().save_pretrained(folder)
        if entry in ("ddpm_cat", "ddpm_church"):
            for part in ("unet", "scheduler"):
                for file in (folder / part).iterdir():
                    shutil.move(file, folder)
                (folder / part).rmdir()
    elif entry in TRANSFORMERS:
        from tests import transformers  # here, since it imports from this file

        transformers.MAKERS[TRANSFORMERS[entry]]().save_pretrained(folder)
    else:
        (stable_diffusion_xl() if entry == "sdxl" else stable_diffusion(entry)).save_pretrained(folder)
    return folder


SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def save_clip(folder: Path, seed: int = 0, act: str = "quick_gelu") -> Path:
    """A CLIP model with the published preprocessing at 32 px."""
    torch.manual_seed(seed)
    text = {**SMALL, "vocab_size": len(tiny_tokenizer()), "max_position_embeddings": LENGTH, "hidden_act": act, **IDS}
    vision = {**SMALL, "image_size": 32, "patch_size": 8, "hidden_act": act}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def save_dinov2(folder: Path) -> Path:
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=7, mlp_ratio=2
    )
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}, image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225], resample=3,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_siglip(folder: Path) -> Path:
    torch.manual_seed(0)
    text = {
        **SMALL,
        "vocab_size": len(tiny_tokenizer()),
        "max_position_embeddings": LENGTH,
        **IDS,
        "projection_size": 16,
    }
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def save_encoder(target: str, folder: Path) -> Path:
    """Save what an `encoder` entry of this class loads."""
    save = {"Dinov2Encoder": save_dinov2, "SiglipEncoder": save_siglip, "ClipEncoder": save_clip}
    return save[target.rpartition(".")[2]](folder)


def single_file(pipeline: StableDiffusionPipeline) -> dict[str, torch.Tensor]:
    """The weights of a Stable Diffusion 1.x pipeline under the names of its first, single-file form."""
    unet = {f"model.diffusion_model.{_unet_name(k)}": v for k, v in pipeline.unet.state_dict().items()}
    latent = {f"first_stage_model.{_vae_name(k)}": v for k, v in pipeline.vae.state_dict().items()}
    latent = {k: v[:, :, None, None] if ".attn_1." in k and v.ndim == 2 else v for k, v in latent.items()}
    text = {
        f"cond_stage_model.transformer.text_model.{k.removeprefix('text_model.')}": v
        for k, v in pipeline.text_encoder.state_dict().items()
    }
    return {k: v.contiguous() for k, v in {**unet, **latent, **text}.items()}


RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
TOP = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip


def _unet_name(key: str) -> str:
    for ours, theirs in TOP.items():
        if key.startswith(f"{ours}."):
            return key.replace(ours, theirs)
    block, *rest = key.split(".")
    if block == "mid_block":
        kind, j, *rest = rest
        place = "middle_block.1" if kind == "attentions" else f"middle_block.{2 * int(j)}"
    else:
        i, kind, j, *rest = rest
        place = _block_name(block == "down_blocks", int(i), kind, int(j))
    if kind == "resnets":
        rest = [RESNET[rest[0]], *rest[1:]]
    if kind == "downsamplers":
        rest = ["op", *rest[1:]]
    return ".".join([place, *rest])


def _block_name(down: bool, i: int, kind: str, j: int) -> str:
    if kind == "downsamplers":
        return f"input_blocks.{3 * (i + 1)}.0"
    if kind == "upsamplers":
        return f"output_blocks.{3 * i + 2}.{1 if i == 0 else 2}"
    place = f"input_blocks.{3 * i + j + 1}" if down else f"output_blocks.{3 * i + j}"
    return f"{place}.{int(kind == 'attentions')}"


def _vae_name(key: str) -> str:
    pieces = key.split(".")
    if "up_blocks" in pieces:
        pieces[2] = str(3 - int(pieces[2]))
    if "mid_block" in pieces:
        number = f"_{int(pieces[3]) + 1}"
        pieces[1:4] = ["mid", {"attentions": "attn", "resnets": "block"}[pieces[2]] + number]
    name = ".".join(pieces)
    for ours, theirs in (
        ("up_blocks", "up"), ("down_blocks", "down"), ("resnets", "block"), ("samplers.0", "sample"), ("conv_norm_out", "norm_out"),
        ("conv_shortcut", "nin_shortcut"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out"),
        ("group_norm", "norm"),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return name
