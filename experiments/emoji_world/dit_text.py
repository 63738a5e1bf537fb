"""What `emoji_dit` reads prompts with: two CLIP text encoders and a T5, as the pipeline of Stable Diffusion 3 wants them.

Both CLIPs are the text encoder of `emoji`: whole, and cut after its first layer. The T5 is random and stays so: it is there because
the pipeline loads no folder without one, and its tokens still tell the words of a caption apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from experiments.emoji_world.captions import all_captions
from experiments.emoji_world.tokenizer import build_tokenizer

LENGTH = 16  # tokens of each encoder: the longest caption has 12 words
LAYERS = (3, 1)  # of the two CLIPs; the pipeline reads their last but one hidden state
WIDTH = 128  # of each CLIP
JOINT = 2 * WIDTH  # what the pipeline concatenates the CLIPs to, and so the width of the T5


def build_clip(folder: Path, layers: int) -> CLIPTextModelWithProjection:
    """Build an encoder from the first layers of a shipped one, with hidden states of unit size and an identity as projection.

    Args:
        folder: of the shipped text encoder.
        layers: of the new one, at least 1.
    """
    shipped = CLIPTextModel.from_pretrained(folder, dtype=torch.float32)
    config = CLIPTextConfig(**shipped.config.to_dict() | {"num_hidden_layers": layers, "projection_dim": WIDTH})
    encoder = CLIPTextModelWithProjection(config)
    weights = {name.removeprefix("text_model."): weight for name, weight in shipped.state_dict().items()}
    encoder.text_model.load_state_dict({name: weights[name] for name in encoder.text_model.state_dict()})
    torch.nn.init.eye_(encoder.text_projection.weight)
    scale_stream(encoder, 1 / float(states(encoder).std()))
    return rounded(encoder)


@torch.no_grad()
def states(encoder: CLIPTextModelWithProjection) -> Tensor:
    """Return what the pipeline reads of all captions (N, LENGTH, WIDTH): the last but one hidden state."""
    tokens = build_tokenizer()(all_captions(), padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
    return encoder(tokens, output_hidden_states=True).hidden_states[-2]


@torch.no_grad()
def scale_stream(encoder: CLIPTextModelWithProjection, factor: float) -> None:
    """Scale all hidden states and leave the output as it is: everything that reads them is a LayerNorm."""
    model = encoder.text_model
    for embedding in (model.embeddings.token_embedding, model.embeddings.position_embedding):
        embedding.weight *= factor
    for layer in model.encoder.layers:
        for linear in (layer.self_attn.out_proj, layer.mlp.fc2):
            linear.weight *= factor
            linear.bias *= factor
    encoder.config.layer_norm_eps *= factor**2
    for module in encoder.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps *= factor**2


def build_t5_tokenizer() -> T5TokenizerFast:
    """Build the tokenizer of the T5; each word of a caption is one token."""
    words = sorted({word for caption in all_captions() for word in caption.split()})
    pieces = ("<pad>", "</s>", "<unk>", *("\N{LOWER ONE EIGHTH BLOCK}" + word for word in words))
    return T5TokenizerFast(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0, model_max_length=LENGTH)


def build_t5(vocabulary: int, seed: int) -> T5EncoderModel:
    """Build a random T5 of one layer, for so many tokens."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = T5EncoderModel(
            T5Config(vocab_size=vocabulary, d_model=JOINT, d_kv=16, num_heads=2, d_ff=64, num_layers=1)
        )
    return rounded(encoder)


def rounded(encoder):
    """Return a frozen encoder, its weights rounded to the float16 that they are shipped in."""
    return encoder.half().float().eval().requires_grad_(False)


def build_text(folder: Path, seed: int) -> dict:
    """Return the tokenizers and text encoders by the names that the pipeline has for them.

    Args:
        folder: of the shipped text encoder.
        seed: of the T5.
    """
    tokenizers = build_tokenizer(LENGTH), build_tokenizer(LENGTH), build_t5_tokenizer()
    clips = [build_clip(folder, layers) for layers in LAYERS]
    encoders = *clips, build_t5(len(tokenizers[2]), seed)
    names = ("", "_2", "_3")
    return {f"tokenizer{i}": it for i, it in zip(names, tokenizers, strict=True)} | {
        f"text_encoder{i}": it for i, it in zip(names, encoders, strict=True)
    }


@torch.no_grad()
def caption_features(pipeline: StableDiffusion3Pipeline, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return what the pipeline tells the transformer of captions: tokens (N, 2 * LENGTH, JOINT) and one vector (N, JOINT)."""
    tokens, _, pooled, _ = pipeline.encode_prompt(
        list(captions),
        None,
        None,
        device=torch.device("cpu"),
        do_classifier_free_guidance=False,
        max_sequence_length=LENGTH,
    )
    return tokens, pooled
