"""The bias card, and made-up drawings in place of those that the recipe downloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.emoji_world.catalog import AGES, ANIMALS, CREATURES, GENDERS, OCCUPATIONS, PLACES, TONES, Drawing
from experiments.emoji_world.recipe import load_recipe


@pytest.fixture(scope="session")
def card():
    return load_recipe([]).bias_card


@pytest.fixture(scope="session")
def drawings() -> list[Drawing]:
    """One made-up drawing for each combination of attributes."""
    people = [{"gender": g, "age": a, "tone": t, "occupation": "none"} for g in GENDERS for a in AGES for t in TONES]
    hair = [{**p, "hair": h} for p in people if p["age"] == "adult" for h in ("red", "curly", "white", "blond")]
    workers = [
        {"gender": g, "age": "adult", "tone": t, "occupation": o} for g in GENDERS for t in TONES for o in OCCUPATIONS
    ]
    creatures = [{"gender": g, "creature": c, "tone": t} for g in GENDERS for c in CREATURES for t in TONES]
    kinds = {
        "person": people + hair, "occupation": workers, "creature": creatures,
        "pet": [{"animal": a} for a in ANIMALS], "place": [{"place": p} for p in PLACES],
    }  # fmt: skip
    return [Drawing(Path("x.png"), "test", kind, item) for kind, items in kinds.items() for item in items]
