"""Train the judge: every attribute has a head, and a head learns from the drawings that have its attribute."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from safetensors.torch import save_file

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.catalog import AGES, ANIMALS, CREATURES, GENDERS, OCCUPATIONS, PLACES, TONES, Drawing
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.training import Recipe, train
from selfdebias.judges.emoji import JudgeNetwork

CLASSES = {
    "gender": GENDERS, "tone": TONES, "age": AGES, "occupation": ("none", *OCCUPATIONS),
    "animal": ANIMALS, "creature": CREATURES, "place": PLACES,
}  # fmt: skip
MISSING = -100  # the class index that cross-entropy leaves out


def targets(drawings: list[Drawing]) -> dict[str, torch.Tensor]:
    """Return the class index (N,) int64 of each attribute; MISSING where it does not apply."""
    return {
        name: torch.tensor([names.index(d.get(name)) if d.get(name) else MISSING for d in drawings])
        for name, names in CLASSES.items()
    }


def spoil(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Add noise and blur of random strength: what a generated image may suffer from."""
    n = len(images)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    mix = torch.rand(n, 1, 1, 1, generator=generator)
    noise = torch.randn(images.shape, generator=generator) * torch.rand(n, 1, 1, 1, generator=generator) * 0.12
    return (images.lerp(soft, mix) + noise).clamp(0, 1)


class JudgeRecipe(Recipe):
    """Cross-entropy over all heads, drawings taken with equal weight for each kind's rare classes."""

    def __init__(self, rgba: torch.Tensor, drawings: list[Drawing], batch_size: int, **common):
        super().__init__(**common)
        self.rgba, self.batch_size = rgba, batch_size
        self.targets = targets(drawings)
        boost = torch.tensor([{"occupation": 1.0, "person": 2.0, "creature": 1.0}.get(d.kind, 3.0) for d in drawings])
        self.weights = (boost / boost.sum()).double().numpy()
        self.weights /= self.weights.sum()
        self.network = JudgeNetwork(CLASSES)

    def training_step(self, batch, batch_idx):
        generator, rng = self.generators()
        rows = torch.from_numpy(rng.choice(len(self.rgba), size=self.batch_size, p=self.weights))
        logits = self.network(spoil(random_views(self.rgba[rows], generator), generator))
        losses = [
            F.cross_entropy(logits[name], target[rows], ignore_index=MISSING)
            for name, target in self.targets.items() if (target[rows] != MISSING).any()
        ]  # fmt: skip
        loss = torch.stack(losses).sum()
        self.log("loss", loss, prog_bar=True)
        return loss


def main(recipe: DictConfig) -> None:
    """Train the judge and write it to ``<ship>/emoji_judge``."""
    fetch(recipe)
    drawings = training_drawings(recipe)
    torch.manual_seed(recipe.seed + 1)  # of the first weights
    module = JudgeRecipe(load_rgba(drawings, recipe.image_size), drawings, seed=recipe.seed + 1, **recipe.judge)
    train(module, Path(recipe.work) / "judge" / "checkpoints", recipe, "judge")
    folder = Path(recipe.ship) / "emoji_judge"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"classes": CLASSES}, indent=1) + "\n")
    save_file(
        {name: weight.contiguous() for name, weight in module.network.state_dict().items()},
        folder / "model.safetensors",
    )


if __name__ == "__main__":
    main(load_recipe())
