"""Read `recipe.yaml`, with overrides from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

HERE = Path(__file__).parent


def load_recipe(overrides: list[str] | None = None) -> DictConfig:
    """Return the recipe, with `key=value` overrides (those of the command line) and the bias card under `bias_card`."""
    recipe = OmegaConf.load(HERE / "recipe.yaml")
    OmegaConf.set_struct(recipe, True)
    recipe.merge_with(OmegaConf.from_dotlist(sys.argv[1:] if overrides is None else overrides))
    OmegaConf.set_struct(recipe, False)
    recipe.bias_card = OmegaConf.load(HERE / "bias_card.yaml")
    return recipe
