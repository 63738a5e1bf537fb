"""The third vendor: Fluent's drawings, rendered from SVG, which no model of Emoji World was trained on."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image

from experiments.emoji_world.catalog import GENDERS, OCCUPATIONS, TONES, Drawing

FLUENT_TONES = dict(zip(("light", "medium-light", "medium", "medium-dark", "dark"), TONES, strict=True))
FLUENT_ROLES = {"doctor": "health-worker"}


def fluent_drawings(recipe: DictConfig) -> list[Drawing]:
    """List Fluent's men and women in the 20 occupations and five tones; only files that exist."""
    folder = Path(recipe.work) / "packages" / "fluent" / "package" / "icons" / "flat"
    found = [
        Drawing(
            folder / f"{gender}-{FLUENT_ROLES.get(role, role.replace(' ', '-'))}-{name}.svg", "fluent", "occupation",
            {"gender": gender, "tone": tone, "age": "adult", "occupation": role},
        )
        for role in OCCUPATIONS for gender in GENDERS for name, tone in FLUENT_TONES.items()
    ]  # fmt: skip
    return [drawing for drawing in found if drawing.path.exists()]


def render_rgba(drawings: list[Drawing], size: int) -> torch.Tensor:
    """Render SVG files as premultiplied RGBA (N, 4, size, size) float32 in [0, 1]."""
    import resvg_py

    images = [
        Image.open(BytesIO(bytes(resvg_py.svg_to_bytes(svg_path=str(d.path), width=size, height=size))))
        for d in drawings
    ]
    stacked = torch.from_numpy(np.stack([np.asarray(image.convert("RGBA")) for image in images]))
    rgba = stacked.permute(0, 3, 1, 2).float() / 255
    return torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
