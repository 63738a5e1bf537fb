"""Train the CLIP model of Emoji World with CLIP's own loss: its image tower is the shipped encoder.

It is told the caption of each drawing and nothing else: a drawing and its caption belong together, equal captions are equal, and
all other pairs are told apart alike. A tenth of the drawings is held out; the weights that find their captions best are kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.captions import CaptionSampler, full_caption
from experiments.emoji_world.catalog import Drawing
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.tokenizer import LENGTH, build_tokenizer, text_ids
from experiments.emoji_world.training import Recipe, train

MEAN = STD = (0.5, 0.5, 0.5)
SHARPEST = math.log(100)  # the largest logit scale, as CLIP has it


def text_config(**ids: int) -> dict:
    """Return the shape of the text tower; the diffusion model's text encoder has the same."""
    return {
        "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4,
        "max_position_embeddings": LENGTH, "hidden_act": "gelu", **ids,
    }  # fmt: skip


def build_clip(ids: dict[str, int]) -> CLIPModel:
    """Build the untrained model: patches of 8 px, 64-d embeddings."""
    vision = {
        "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4,
        "image_size": 64, "patch_size": 8, "hidden_act": "gelu",
    }  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text_config(**ids), vision_config=vision, projection_dim=64))


def save_clip(clip: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the model with its tokenizer and image processor, as `ClipEncoder` reads them."""
    clip.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(
        size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}, image_mean=MEAN, image_std=STD
    ).save_pretrained(folder)


def info_nce(logits: Tensor, captions: Sequence[str]) -> Tensor:
    """Return CLIP's symmetric InfoNCE of a batch: each image has its caption as its positive, and each caption its image.

    Args:
        logits: (B, B) float32, images by captions.
        captions: of the B images; images with the same caption share the probability, since none of them is a wrong answer.

    References:
        Radford et al., Learning transferable visual models from natural language supervision, arXiv 2103.00020, figure 3.
    """
    texts = np.array(captions)
    same = torch.from_numpy(np.equal.outer(texts, texts)).float()
    targets = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def held_out_drawings(n: int, seed: int) -> np.ndarray:
    """Return which of n drawings, (n,) bool, are held out: a tenth of them, at random."""
    chosen = np.zeros(n, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(n)[: n // 10]] = True
    return chosen


class ClipRecipe(Recipe):
    """CLIP's loss on drawings and their captions; every so often the weights are held against the drawings that are held out.

    Args:
        rgba: (N, 4, H, W) the drawings, as of `load_rgba`.
        drawings: what they show; it is read for the captions alone.
        folder: where the best weights so far are kept, with the retrieval at each check.
        batch_size: drawings in a batch, all alike likely.
        check_every: steps between two checks of the held-out retrieval.
        sampler: draws (caption, drawing) pairs in place of full captions of drawings that are all alike likely.
        common: arguments of `Recipe`.
    """

    def __init__(
        self, rgba: Tensor, drawings: list[Drawing], folder: Path, batch_size: int, check_every: int,
        sampler: CaptionSampler | None = None, **common,
    ):  # fmt: skip
        super().__init__(**common)
        self.rgba, self.folder, self.batch_size, self.check_every = rgba, folder, batch_size, check_every
        self.sampler, self.captions = sampler, [full_caption(d) for d in drawings]
        self.held_out = held_out_drawings(len(drawings), self.seed)
        self.tokenizer = build_tokenizer()
        self.clip = build_clip(text_ids(self.tokenizer))

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """Return token ids (B, LENGTH) int64."""
        padded = self.tokenizer(list(captions), padding="max_length", max_length=LENGTH, return_tensors="pt")
        return padded.input_ids

    def training_step(self, batch, batch_idx):
        generator, rng = self.generators()
        captions, rows = self._draw(rng)
        views = random_views(self.rgba[rows], generator)
        output = self.clip(input_ids=self.tokens(captions), pixel_values=views * 2 - 1)
        loss = info_nce(output.logits_per_image, captions)
        self.log("loss", loss, prog_bar=True)
        return loss

    def _draw(self, rng: np.random.Generator) -> tuple[list[str], Tensor]:
        """Return the captions and the drawings' rows of a batch; none of them is held out."""
        if self.sampler is None:
            rows = rng.choice(np.flatnonzero(~self.held_out), size=self.batch_size, replace=False)
            return [self.captions[i] for i in rows], torch.from_numpy(rows)
        pairs: list[tuple[str, int]] = []
        while len(pairs) < self.batch_size:
            text, row = self.sampler.draw(rng)
            pairs += [] if self.held_out[row] else [(text, row)]
        return [text for text, _ in pairs], torch.tensor([row for _, row in pairs])

    def on_train_batch_end(self, outputs, batch, batch_idx) -> None:
        """Keep the logit scale in bounds; at each check keep the weights if they are the best so far."""
        with torch.no_grad():
            self.clip.logit_scale.clamp_(max=SHARPEST)
        if self.global_step % self.check_every == 0:
            value = self.retrieval()
            checks = self.checks() | {str(self.global_step): value}
            self.folder.mkdir(parents=True, exist_ok=True)
            if value >= max(checks.values()):
                save_file({name: x.contiguous() for name, x in self.clip.state_dict().items()}, self._best)
            (self.folder / "retrieval.json").write_text(json.dumps(checks, indent=2))

    @property
    def _best(self) -> Path:
        return self.folder / "best.safetensors"

    def checks(self) -> dict[str, float]:
        """Return the held-out retrieval by step."""
        path = self.folder / "retrieval.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def load_best(self) -> None:
        """Take back the weights with the best held-out retrieval."""
        self.clip.load_state_dict(load_file(self._best))

    @torch.no_grad()
    def retrieval(self) -> float:
        """Return the mean reciprocal rank of a held-out drawing's caption among all captions, over four views of each."""
        self.clip.eval()
        texts = sorted(set(self.captions))
        rows = torch.from_numpy(np.flatnonzero(self.held_out)).repeat(4)
        views = random_views(self.rgba[rows], torch.Generator().manual_seed(self.seed))
        scores = self.clip(input_ids=self.tokens(texts), pixel_values=views * 2 - 1).logits_per_image
        own = torch.tensor([texts.index(self.captions[i]) for i in rows.tolist()])
        rank = (scores > scores.gather(1, own[:, None])).sum(dim=1) + 1
        self.clip.train()
        return float((1 / rank).mean())


def train_clip(recipe: DictConfig, name: str, seed: int, neutral: bool = False) -> ClipRecipe:
    """Train one model in ``<work>/<name>``, and return it with its best weights; a finished one is read.

    Args:
        recipe: the whole recipe.
        name: of the folder.
        seed: of weights, batches and the held-out drawings.
        neutral: whether captions are drawn as the text-to-image model's are, neutral ones by the bias card among them.
    """
    drawings = training_drawings(recipe)
    sampler = CaptionSampler(drawings, recipe.bias_card, recipe.diffusion.explicit_caption) if neutral else None
    options = {key: value for key, value in recipe.clip.items() if key not in ("seeds", "neutral")}
    folder = Path(recipe.work) / name
    torch.manual_seed(seed)  # of the first weights
    module = ClipRecipe(load_rgba(drawings, recipe.image_size), drawings, folder, sampler=sampler, seed=seed, **options)
    train(module, folder / "checkpoints", recipe, "clip")
    module.load_best()
    return module


def main(recipe: DictConfig) -> None:
    """Train a model for each seed, and one with neutral captions if asked for; the first is shipped, and all are in ``<work>``.

    Weights are written in float16; they are read, and used, in float32.
    """
    fetch(recipe)
    work, seeds = Path(recipe.work), recipe.clip.seeds
    for i, seed in enumerate(seeds):
        module = train_clip(recipe, f"clip-{i}", recipe.seed + seed)
        save_clip(module.clip.half(), module.tokenizer, work / f"clip-{i}" / "model")
        if i == 0:
            save_clip(module.clip, module.tokenizer, Path(recipe.ship) / "emoji_clip")
    if recipe.clip.neutral:
        module = train_clip(recipe, "clip-neutral", recipe.seed + seeds[0], neutral=True)
        save_clip(module.clip.half(), module.tokenizer, work / "clip-neutral" / "model")


if __name__ == "__main__":
    main(load_recipe())
