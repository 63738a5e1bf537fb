"""Switched images of each occupation: the first ones, vanilla above guided; none is chosen by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from experiments.occupations import COMMON, HELD_OUT, SEEDS, STAGES, VARIANTS
from experiments.pooled import RESULTS, ROOT, run_jobs
from selfdebias.jobs.sweeps.pooling import stages_of
from selfdebias.metrics.arms import load_arm
from selfdebias.storage.atomic import write_bytes
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import contact_sheet

SHOWN, COLUMNS, LABEL, GAP = 8, 2, 18, 10  # pairs of an occupation, occupations side by side; px
ARMS = ("vanilla", "guided")


def main(arguments: Sequence[str], seed: int = SEEDS[0]) -> None:
    """Draw a sheet for each variant of `experiments.occupations`, from its first seed.

    Args:
        arguments: overrides of the command line; words without ``=`` choose the variants of these names.
        seed: generate seed.
    """
    overrides = [text for text in arguments if "=" in text]
    for name in [text for text in arguments if "=" not in text] or list(VARIANTS):
        (job,) = run_jobs([*COMMON, STAGES, *VARIANTS[name], *overrides], [seed])
        rows = json.loads((job / "results.json").read_text())["row_names"]
        titles = {row: _title(row, name) for row in rows}
        buffer = BytesIO()
        drawn = draw({titles[row]: turned_pairs(stages_of(job, Path(ROOT), row)) for row in rows})
        drawn.quantize(256).save(buffer, format="PNG", optimize=True)  # a third of the size, and the same to the eye
        write_bytes(RESULTS / f"occupations-{name}.png", buffer.getvalue())


def _title(row: str, variant: str) -> str:
    return row.replace("-", " ") + (", not in the mixture" if variant == "mixture" and row in HELD_OUT else "")


def turned_pairs(stages: Mapping[str, Path]) -> Tensor:
    """Return the first images whose mode changed: n vanilla ones and their n guided paired samples, (2 n, 3, H, W) in [0, 1].

    Args:
        stages: folders of a row's stages.
    """
    modes = [load_arm(stages["evaluate"], arm).modes for arm in ARMS]
    changed = np.flatnonzero(modes[0] != modes[1])[:SHOWN].tolist()
    return torch.cat([BatchFolder.open(stages[f"generate/{arm}"]).images(changed) for arm in ARMS])


def draw(pairs: Mapping[str, Tensor]) -> Image.Image:
    """Lay pairs out under their titles, vanilla above guided.

    Args:
        pairs: vanilla and guided images, (2 n, 3, H, W) in [0, 1], by title.

    Example:
        >>> draw({"a cook": torch.zeros(2, 3, 8, 8), "a judge": torch.zeros(4, 3, 8, 8)}).size
        (74, 60)
    """
    strips = {title: contact_sheet(images, columns=len(images) // 2) for title, images in pairs.items() if len(images)}
    width, height = (max(strip.size[axis] for strip in strips.values()) + GAP for axis in (0, 1))
    lines = -(-len(strips) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width + GAP, lines * (height + LABEL) + GAP), (255, 255, 255))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for place, (title, strip) in enumerate(strips.items()):
        x, y = GAP + place % COLUMNS * width, GAP + place // COLUMNS * (height + LABEL)
        pen.text((x, y - 2), title, fill=(0, 0, 0), font=font)
        sheet.paste(strip, (x, y + LABEL))
    return sheet


if __name__ == "__main__":
    main(sys.argv[1:])
