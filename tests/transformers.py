"""Real transformer pipelines with narrow random weights: 8 x 8 latents, or 16 x 16 ones in patches of 2."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)  # fmt: skip
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tests.architectures import text_config
from tests.tiny import tiny_tokenizer

WIDTH = 32  # of T5, as wide as both CLIPs together
LAYERS = 4


def _vae(channels: int, shift: float | None = None) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=channels, sample_size=32, shift_factor=shift,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, mid_block_add_attention=False,
    )  # fmt: skip


def _t5() -> tuple[T5EncoderModel, T5TokenizerFast]:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), *((chr(c), -2.0) for c in range(97, 123))]
    tokenizer = T5TokenizerFast(vocab=pieces, extra_ids=0)
    config = T5Config(
        vocab_size=len(pieces),
        d_model=WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=1,
    )
    return T5EncoderModel(config), tokenizer


def _clip(width: int) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(text_config(width, "gelu"))


def _quiet(pipeline: Any) -> Any:
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # as from_pretrained has it; T5 has dropout
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sd3(seed: int = 0, channels: int = 4) -> StableDiffusion3Pipeline:
    torch.manual_seed(seed)
    t5, t5_tokenizer = _t5()
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=channels, out_channels=channels, num_layers=LAYERS, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=WIDTH, caption_projection_dim=16, pooled_projection_dim=32,
        pos_embed_max_size=16,
    )  # fmt: skip
    return _quiet(StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=_vae(channels, 0.0),
        text_encoder=_clip(16), tokenizer=tiny_tokenizer(), text_encoder_2=_clip(16), tokenizer_2=tiny_tokenizer(),
        text_encoder_3=t5, tokenizer_3=t5_tokenizer,
    ))  # fmt: skip


def pixart(seed: int = 0) -> PixArtSigmaPipeline:
    torch.manual_seed(seed)
    t5, tokenizer = _t5()
    transformer = PixArtTransformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, out_channels=8, num_layers=LAYERS, attention_head_dim=8,
        num_attention_heads=2, cross_attention_dim=16, caption_channels=WIDTH, use_additional_conditions=False,
    )  # fmt: skip
    return _quiet(
        PixArtSigmaPipeline(
            tokenizer=tokenizer,
            text_encoder=t5,
            vae=_vae(4),
            transformer=transformer,
            scheduler=DPMSolverMultistepScheduler(),
        )
    )


def flux(seed: int = 0) -> FluxPipeline:
    torch.manual_seed(seed)
    t5, t5_tokenizer = _t5()
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=WIDTH, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=False,
    )  # fmt: skip
    clip = CLIPTextModel(CLIPTextConfig(**text_config(32, "gelu").to_dict()))
    return _quiet(
        FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(), vae=_vae(4, 0.0), text_encoder=clip, tokenizer=tiny_tokenizer(),
            text_encoder_2=t5, tokenizer_2=t5_tokenizer, transformer=transformer,
        )
    )  # fmt: skip


def _gemma() -> tuple[Gemma2Model, GemmaTokenizer]:
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *map(chr, range(33, 127))]
    tokenizer = GemmaTokenizer(vocab={piece: place for place, piece in enumerate(pieces)}, merges=[])
    config = Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )  # fmt: skip
    return Gemma2Model(config), tokenizer


def sana(seed: int = 0) -> SanaPipeline:
    torch.manual_seed(seed)
    text_encoder, tokenizer = _gemma()
    blocks = {"block_out_channels": (8,) * 4, "layers_per_block": (1,) * 4, "qkv_multiscales": ((),) * 4}
    halves = {f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in blocks.items()}
    vae = AutoencoderDC(latent_channels=4, attention_head_dim=8, **halves)  # 8 px to a place; the published one has 32
    transformer = SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_layers=LAYERS, attention_head_dim=8, num_attention_heads=2,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=WIDTH, sample_size=8,
    )  # fmt: skip
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
    return _quiet(
        SanaPipeline(
            tokenizer=tokenizer, text_encoder=text_encoder, vae=vae, transformer=transformer, scheduler=scheduler
        )
    )


CALLS: dict[str, dict[str, Any]] = {
    "sd3": {"height": 32, "width": 32, "max_sequence_length": 16, "guidance_scale": 3.0},
    "pixart": {
        "height": 32,
        "width": 32,
        "max_sequence_length": 16,
        "guidance_scale": 3.0,
        "use_resolution_binning": False,
        "clean_caption": False,
    },
    "flux": {"height": 32, "width": 32, "max_sequence_length": 16, "guidance_scale": 3.0},
    "sana": {
        "height": 64,
        "width": 64,
        "max_sequence_length": 16,
        "complex_human_instruction": None,
        "use_resolution_binning": False,
        "guidance_scale": 3.0,
        "clean_caption": False,
    },
}
MAKERS = {"sd3": sd3, "pixart": pixart, "flux": flux, "sana": sana}


def sample(kind: str, pipeline: Any, seeds: list[int], steps: int = 3, **options: Any) -> torch.Tensor:
    """Return images (B, H, W, 3) in [0, 1] of "a person", one seed each."""
    asked: dict[str, Any] = {"prompt": ["a person"] * len(seeds), "output_type": "np"}
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    images = pipeline(num_inference_steps=steps, generator=generators, **{**asked, **CALLS[kind], **options}).images
    return torch.as_tensor(images)
