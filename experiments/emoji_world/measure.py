"""Measure the shipped models, and write `metrics.json`, the sample sheet and the model cards."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from tqdm import tqdm
from transformers import CLIPTokenizer

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.captions import Facts, caption, full_caption
from experiments.emoji_world.cards import write_cards
from experiments.emoji_world.catalog import GENDERS, OCCUPATIONS, TONES, Drawing
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.train_judge import CLASSES, MISSING, targets
from experiments.emoji_world.vendor_check import fluent_drawings, render_rgba
from selfdebias.backbones import StableDiffusionBackbone
from selfdebias.encoders import ClipEncoder
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.storage.images import contact_sheet, image_seeds

NEUTRAL = [Facts("person"), *(Facts("occupation", role=role) for role in OCCUPATIONS)]
OTHERS = [Facts("pet"), Facts("creature"), Facts("place")]
EXPLICIT_ROLES = ("", "teacher", "farmer", "singer", "scientist", "pilot")


def judge_accuracy(judge: EmojiJudge, drawings: list[Drawing], rgba: torch.Tensor, views: int, seed: int) -> dict:
    """Return the accuracy on fresh augmentations of each drawing, by attribute."""
    generator = torch.Generator().manual_seed(seed)
    wanted = targets(drawings)
    hits: dict[str, list[torch.Tensor]] = {name: [] for name in CLASSES}
    for _ in range(views):
        said = judge(random_views(rgba, generator))
        for name, classes in wanted.items():
            there = classes != MISSING
            hits[name].append((said[name].argmax(dim=1) == classes)[there].float())
    return {name: float(torch.cat(values).mean()) for name, values in hits.items() if len(torch.cat(values))}


@torch.no_grad()
def encoder_accuracy(folder: Path, drawings: list[Drawing], rgba: torch.Tensor, seed: int) -> dict[str, float]:
    """Return the zero-shot accuracy on fresh augmentations, by attribute.

    A class is the mean text embedding of the full captions that state it.
    """
    encoder, tokenizer = ClipEncoder(str(folder)), CLIPTokenizer.from_pretrained(folder)
    tokens = tokenizer([full_caption(d) for d in drawings], padding=True, return_tensors="pt")
    texts = F.normalize(encoder.load().get_text_features(**tokens).pooler_output, dim=1)
    e = encoder(random_views(rgba, torch.Generator().manual_seed(seed)))
    accuracy = {}
    for name, wanted in targets(drawings).items():
        rows = wanted != MISSING
        classes = F.one_hot(wanted[rows]).float()
        prototypes = F.normalize(classes.T @ texts[rows], dim=1)
        accuracy[name] = float(((e[rows] @ prototypes.T).argmax(dim=1) == wanted[rows]).float().mean())
    return accuracy


class Generator:
    """Draws images of captions in batches, and lets the judge read them.

    Args:
        generate: returns the images (B, 3, H, W) in [0, 1] of B captions and B seeds.
        judge: of what the images show.
    """

    def __init__(self, generate: Callable[[list[str], list[int]], torch.Tensor], judge: EmojiJudge):
        self.generate, self.judge = generate, judge

    def draw(self, text: str, n: int) -> torch.Tensor:
        """Return n images of a caption; the seeds depend on the caption."""
        seeds = image_seeds(f"measure {text}", 0, range(n))
        parts = [self.generate([text] * len(s), s) for s in (seeds[i : i + 32] for i in range(0, n, 32))]
        return torch.cat(parts)

    def shares(self, images: torch.Tensor, attribute: str) -> dict[str, float]:
        """Return the hard share of each class of an attribute."""
        labels = self.judge(images)[attribute].argmax(dim=1)
        return {name: float((labels == c).float().mean()) for c, name in enumerate(CLASSES[attribute])}


def measure_neutral(draw: Generator, recipe: DictConfig) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return, by neutral prompt, the learned shares beside the card's; and the images."""
    rows, sheets = {}, {}
    for facts in tqdm(NEUTRAL, desc="neutral prompts"):
        text = caption(facts)
        images = draw.draw(text, recipe.measure.neutral_images)
        card = recipe.bias_card.occupations[facts.role].male if facts.role else recipe.bias_card.person.male
        occupation = draw.shares(images, "occupation")[facts.role or "none"]
        male = draw.shares(images, "gender")["man"]
        rows[text] = {
            "male": male,
            "card": float(card),
            "occupation_shown": occupation,
            "tones": draw.shares(images, "tone"),
        }
        sheets[text] = images[: recipe.measure.sheet_columns]
    return rows, sheets


def measure_others(draw: Generator, recipe: DictConfig) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return the shares of animals, creatures and places of their neutral prompts; and the images."""
    rows, sheets = {}, {}
    for facts, attribute in zip(OTHERS, ("animal", "creature", "place"), strict=True):
        images = draw.draw(caption(facts), recipe.measure.neutral_images)
        rows[caption(facts)] = draw.shares(images, attribute)
        sheets[caption(facts)] = images[: recipe.measure.sheet_columns]
    return rows, sheets


def measure_explicit(draw: Generator, recipe: DictConfig) -> dict:
    """Return how often explicit captions are followed, over gender x tone x some roles."""
    gender_hits, tone_hits = [], []
    for role in tqdm(EXPLICIT_ROLES, desc="explicit captions"):
        for gender in GENDERS:
            for tone in TONES:
                text = caption(Facts("occupation" if role else "person", gender=gender, tone=tone, role=role))
                images = draw.draw(text, recipe.measure.explicit_images)
                gender_hits.append(draw.shares(images, "gender")[gender])
                tone_hits.append(draw.shares(images, "tone")[tone])
    n = len(gender_hits) * recipe.measure.explicit_images
    return {"gender": sum(gender_hits) / len(gender_hits), "tone": sum(tone_hits) / len(tone_hits), "images": n}


def summarise(rows: dict) -> dict:
    """Return what the neutral prompts come to: occupations shown, and prompts whose share was learned within 0.15."""
    occupations = [row["occupation_shown"] for text, row in rows.items() if text != caption(Facts("person"))]
    near = [abs(row["male"] - row["card"]) <= 0.15 for row in rows.values()]
    return {"occupation_shown": sum(occupations) / len(occupations), "share_learned": sum(near) / len(near)}


def main(recipe: DictConfig) -> None:
    """Measure everything, and write the cards."""
    fetch(recipe)
    ship = Path(recipe.ship)
    judge = EmojiJudge(str(ship / "emoji_judge"))
    drawings, fluent = training_drawings(recipe), fluent_drawings(recipe)
    held_out = judge_accuracy(judge, drawings, load_rgba(drawings, recipe.image_size), 4, recipe.seed + 9)
    other = judge_accuracy(judge, fluent, render_rgba(fluent, recipe.image_size), 2, recipe.seed + 9)
    zero_shot = encoder_accuracy(
        ship / "emoji_clip_informed", drawings, load_rgba(drawings, recipe.image_size), recipe.seed + 10
    )
    backbone = StableDiffusionBackbone(str(ship / "emoji"), recipe.measure.steps, recipe.measure.guidance_scale)
    draw = Generator(partial(backbone.generate, backbone.load()), judge)
    rows, sheets = measure_neutral(draw, recipe)
    others, more = measure_others(draw, recipe)
    metrics = {
        "judge": {"held_out": held_out, "fluent": other, "fluent_drawings": len(fluent)},
        "encoder": zero_shot,
        "neutral": rows, "others": others, "summary": summarise(rows), "explicit": measure_explicit(draw, recipe),
        "settings": dict(recipe.measure),
    }  # fmt: skip
    sheet = contact_sheet(torch.cat([*sheets.values(), *more.values()]), recipe.measure.sheet_columns)
    sheet.save(ship / "emoji" / "samples.png", optimize=True)
    (ship / "emoji" / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_cards(ship)
    print(json.dumps({key: metrics[key] for key in ("judge", "encoder", "summary", "explicit")}, indent=1))


if __name__ == "__main__":
    main(load_recipe())
