"""Measure the encoder that saw images alone, and write its `metrics.json` and its model card."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from omegaconf import DictConfig
from sklearn.linear_model import LogisticRegression

from experiments.emoji_world.augment import load_rgba, random_views
from experiments.emoji_world.cards import write_simclr_card
from experiments.emoji_world.catalog import Drawing
from experiments.emoji_world.fetch import fetch, training_drawings
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.train_clip import held_out_drawings
from experiments.emoji_world.train_judge import MISSING, targets
from selfdebias.encoders import Dinov2Encoder

VIEWS = 4  # of each drawing
PROBED = ("gender", "tone", "age", "occupation")


@torch.no_grad()
def probe(encoder: Dinov2Encoder, drawings: list[Drawing], rgba: torch.Tensor, seed: int) -> dict[str, float]:
    """Return the accuracy of a linear probe by attribute, on views of a tenth of the drawings that it was not fitted on."""
    generator = torch.Generator().manual_seed(seed)
    e = torch.cat([encoder(random_views(rgba, generator)) for _ in range(VIEWS)]).numpy()
    held_out = torch.from_numpy(held_out_drawings(len(drawings), seed)).repeat(VIEWS)
    accuracy = {}
    for name, wanted in targets(drawings).items():
        y, known = wanted.repeat(VIEWS), (wanted != MISSING).repeat(VIEWS)
        fit, test = ((known & rows).numpy() for rows in (~held_out, held_out))
        if name in PROBED:
            accuracy[name] = float(LogisticRegression(C=100, max_iter=2000).fit(e[fit], y[fit]).score(e[test], y[test]))
    return accuracy


def main(recipe: DictConfig) -> None:
    """Measure what `train_simclr` shipped."""
    fetch(recipe)
    drawings, ship = training_drawings(recipe), Path(recipe.ship)
    encoder = Dinov2Encoder(str(ship / "emoji_simclr"))
    found = probe(encoder, drawings, load_rgba(drawings, recipe.image_size), recipe.seed + 11)
    metrics = {
        "linear_probe": found,
        "training": {key: recipe.simclr[key] for key in ("steps", "batch_size", "temperature")},
    }
    (ship / "emoji_simclr" / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_simclr_card(ship)


if __name__ == "__main__":
    main(load_recipe())
