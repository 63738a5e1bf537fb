"""The shipped models load unmodified, are small, hold no pickle, and say where they come from."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, StableDiffusion3Pipeline, StableDiffusionPipeline
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from selfdebias.judges.emoji import EmojiJudge
from selfdebias.testbed import HERE, shipped

MODELS = ("emoji", "emoji_clip", "emoji_clip_informed", "emoji_simclr", "emoji_judge", "emoji_ddpm", "emoji_dit")
ENCODERS = ("emoji_clip", "emoji_clip_informed", "emoji_simclr")


def test_together_they_are_at_most_45_mb_and_safetensors_alone():
    files = [path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 45e6
    assert sum(path.stat().st_size for path in files if path.relative_to(HERE).parts[0] in ENCODERS) <= 12e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".png", ".txt", ".py"}


@pytest.mark.parametrize("name", MODELS)
def test_each_has_a_model_card_with_data_licence_and_how_to_retrain(name):
    card = (shipped(name) / "README.md").read_text()
    for words in ("license: apache-2.0", "CC-BY-4.0", "make emoji-world"):
        assert words in card


def test_the_pipeline_loads_with_no_further_argument_and_draws_the_prompt():
    pipeline = StableDiffusionPipeline.from_pretrained(shipped("emoji"))
    pipeline.set_progress_bar_config(disable=True)
    prompts = ["an emoji of a woman with dark skin", "an emoji of a man with pale skin", "an emoji of a man farmer"]
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    images = pipeline(
        prompts, num_inference_steps=25, guidance_scale=3.0, generator=generators, output_type="np"
    ).images
    said = EmojiJudge()(torch.from_numpy(images).permute(0, 3, 1, 2))
    assert images.shape == (3, 64, 64, 3)
    assert said["gender"].argmax(dim=1).tolist() == [1, 0, 0]
    assert int(said["occupation"][2].argmax()) == 1


def test_the_transformer_loads_with_no_further_argument_and_draws_the_prompt():
    folder = shipped("emoji_dit")
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    assert 4e6 <= sum(p.numel() for p in pipeline.transformer.parameters()) <= 6e6
    prompts = ["an emoji of a woman with dark skin", "an emoji of a man with pale skin", "an emoji of a man farmer"]
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    images = pipeline(
        prompts,
        num_inference_steps=25,
        guidance_scale=1.5,
        max_sequence_length=16,
        generator=generators,
        output_type="pt",
    ).images
    said = EmojiJudge()(images)
    assert said["gender"].argmax(dim=1).tolist() == [1, 0, 0]
    assert int(said["occupation"][2].argmax()) == 1


def test_the_unconditional_model_is_small_loads_as_both_pipelines_and_draws_people_by_its_card():
    folder = shipped("emoji_ddpm")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 8e6
    for pipeline_class in (DDPMPipeline, DDIMPipeline):
        pipeline = pipeline_class.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(i) for i in range(24)]
    images = pipeline(24, generators, num_inference_steps=25, output_type="np").images
    said = EmojiJudge()(torch.from_numpy(images).permute(0, 3, 1, 2))
    assert images.shape == (24, 32, 32, 3)
    assert float(said["gender"].max(dim=1).values.mean()) > 0.9
    assert 12 <= int((said["gender"].argmax(dim=1) == 0).sum()) <= 23  # 18 by the card
    measured = json.loads((folder / "metrics.json").read_text())
    for attribute, bar in {"gender": 0.05, "age": 0.05, "tone": 0.15}.items():  # the darker tones come out too often
        for name, share in measured["card"][attribute].items():
            assert abs(measured["generated"][attribute][name] - share) <= bar


@pytest.mark.parametrize("name", [name for name in ENCODERS if "clip" in name.split("_")])
def test_the_encoder_loads_unmodified_and_tells_captions_apart(name):
    folder = shipped(name)
    model, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    assert CLIPImageProcessor.from_pretrained(folder).size == {"height": 64, "width": 64}
    texts = [
        "an emoji of a man doctor with dark skin",
        "an emoji of a woman doctor with dark skin",
        "an emoji of a dog",
    ]
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        e = torch.nn.functional.normalize(model.get_text_features(**tokens).pooler_output, dim=1)
    cosine = e @ e.T
    assert float(cosine[0, 1]) > float(cosine[0, 2]) + 0.2


@pytest.mark.parametrize(
    ("name", "path", "bar"),
    [
        ("emoji", ("judge", "held_out", "gender"), 0.98),
        ("emoji", ("judge", "held_out", "tone"), 0.98),
        ("emoji", ("judge", "held_out", "age"), 0.98),
        ("emoji", ("judge", "held_out", "occupation"), 0.98),
        ("emoji", ("summary", "occupation_shown"), 0.90),
        ("emoji", ("explicit", "tone"), 0.70),
        ("emoji", ("explicit", "gender"), 0.95),
        ("emoji", ("summary", "share_learned"), 0.80),
        ("emoji_dit", ("summary", "occupation_shown"), 0.95),
        ("emoji_dit", ("explicit", "gender"), 0.95),
        ("emoji_dit", ("summary", "share_learned"), 0.80),
        ("emoji_dit", ("summary", "share_judged_in_training"), 0.80),
    ],
)
def test_the_measured_quality_reaches_its_bar(name, path, bar):
    """`measure.py` and `measure_dit.py` of `experiments/emoji_world` measured it."""
    value = json.loads((shipped(name) / "metrics.json").read_text())
    for key in path:
        value = value[key]
    assert value >= bar


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(FileNotFoundError, match="emoji_judge"):
        shipped("emojy")
