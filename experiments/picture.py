"""The README's picture: the first images of the person result, vanilla above guided, those framed whose side of an axis changed."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from experiments.person_encoders import STUDY, THREE_FITS
from experiments.pooled import RESULTS, ROOT, run_jobs
from selfdebias.metrics.arms import load_arm
from selfdebias.storage.atomic import write_bytes
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import to_uint8

COLUMNS, ROWS, SCALE, GAP, FRAME = 16, 2, 64, 4, (213, 94, 0)


def main(overrides: list[str]) -> None:
    """Draw the first images of the first seed; nothing is chosen by hand."""
    (job,) = run_jobs([*STUDY.variants[THREE_FITS[0]], *overrides], STUDY.seeds[:1])
    stages = {name: Path(ROOT) / path for name, path in json.loads((job / "job.json").read_text())["stages"].items()}
    ids = list(range(COLUMNS * ROWS))
    pictures = {arm: BatchFolder.open(stages[f"generate/{arm}"]).images(ids) for arm in ("vanilla", "guided")}
    modes = {arm: load_arm(stages["evaluate"], arm).modes[: len(ids)] for arm in pictures}
    changed = np.flatnonzero(modes["vanilla"] != modes["guided"])
    buffer = BytesIO()
    _draw(pictures["vanilla"], pictures["guided"], set(changed.tolist())).save(buffer, format="PNG", optimize=True)
    write_bytes(RESULTS / "before_after.png", buffer.getvalue())


def _draw(vanilla, guided, changed: set[int]) -> Image.Image:
    cell, pair = SCALE + GAP, 2 * SCALE + GAP + 14
    sheet = Image.new("RGB", (COLUMNS * cell + GAP, ROWS * pair), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for i, images in enumerate(zip(vanilla, guided, strict=True)):
        x, y = GAP + i % COLUMNS * cell, GAP + i // COLUMNS * pair
        for row, image in enumerate(images):
            array = np.asarray(to_uint8(image))
            array = array if array.shape[-1] == 3 else array.transpose(1, 2, 0)
            sheet.paste(Image.fromarray(array).resize((SCALE, SCALE)), (x, y + row * (SCALE + 2)))
        if i in changed:
            pen.rectangle((x - 2, y - 2, x + SCALE + 1, y + 2 * SCALE + 3), outline=FRAME, width=3)
    return sheet


if __name__ == "__main__":
    main(sys.argv[1:])
