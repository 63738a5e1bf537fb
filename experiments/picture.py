"""The README's picture: a person and two occupations that are nearly all men, vanilla above guided, framed where the mode changed.

    python -m experiments.picture [KEY=VALUE ...]

The images are the first ones of the first seed of `person_encoders` and of `occupations_choosing`; none is chosen by hand. Finished
stages are found again. Numbers go to `experiments/results/before_after.json`, the caption into README.md and docs/index.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from experiments import occupations_choosing, person_encoders
from experiments.notebook import filled
from experiments.pooled import RESULTS, ROOT, run_jobs
from selfdebias.jobs.sweeps.pooling import stages_of
from selfdebias.metrics.arms import load_arm
from selfdebias.report.wording import percent
from selfdebias.storage.atomic import write_bytes, write_json, write_text
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import to_uint8

NAME, PLURALS = "before_after", {"person": "people", "doctor": "doctors", "mechanic": "mechanics"}
PAGES = [Path(__file__).parents[1] / page for page in ("README.md", "docs/index.md")]
ARMS = ("vanilla", "guided")
COLUMNS, SIDE, GAP, LEFT, TITLE = 12, 64, 6, 54, 20  # images of a band; px
INK, FRAME = (30, 30, 30), (213, 94, 0)
CAPTION = """\
*Emoji World, the small models that ship with the package: vanilla above guided, from the same seeds. Men among all images of these
seeds: {}. A frame marks an image that changed
its mode, whatever its gender: a person's modes differ in age and tone, too. An encoder trained with captions alone found
a person's. Doctor and mechanic have modes of "a person" by an encoder that was also trained with gender, tone and age.*
"""


class Band(NamedTuple):
    """Images of one prompt, (N, 3, H, W) in [0, 1] by arm, and which of them changed their mode."""

    title: str
    images: Mapping[str, Tensor]
    changed: Sequence[bool]


def main(overrides: Sequence[str]) -> None:
    """Draw the picture, and write down which shares of men all images of its jobs have."""
    person = person_encoders.STUDY
    many = [*occupations_choosing.PARTITION, "guidance=transport"]
    (one,) = run_jobs([*person.variants[person_encoders.THREE_FITS[0]], *overrides], person.seeds[:1])
    (other,) = run_jobs([*many, *overrides], occupations_choosing.SEEDS[:1])
    rows = {row: (other, row) if row != "person" else (one, "") for row in PLURALS}
    buffer = BytesIO()
    bands = [band(row, stages_of(job, Path(ROOT), name)) for row, (job, name) in rows.items()]
    draw(bands).save(buffer, format="PNG", optimize=True)
    write_bytes(RESULTS / f"{NAME}.png", buffer.getvalue())
    write_json(RESULTS / f"{NAME}.json", {row: shares(*it) for row, it in rows.items()})
    for page in PAGES:
        write_text(page, filled(page.read_text(), "caption", lambda _: caption()))


def shares(job: Path, row: str) -> dict[str, Any]:
    """The share of men in each arm of a job's row, with the hash and the seed of the job."""
    results = json.loads((job / "results.json").read_text())
    arms = (results["rows"][row] if row else results)["arms"]
    men = {arm: arms[arm]["shares"]["gender"]["man"] for arm in ARMS}
    return {"men": men, "config_hash": job.name, "seed": results["seeds"]["generate"]}


def caption(results: Path = RESULTS) -> str:
    """What stands below the picture."""
    found = json.loads((results / f"{NAME}.json").read_text())
    said = []
    for row, plural in PLURALS.items():
        men = found[row]["men"]
        before, after = (percent(men[arm]["value"]) for arm in ARMS)
        said.append(f"{before} to {after} of {men['guided']['n']} {plural}")
    return CAPTION.format(", ".join(said))


def band(row: str, stages: Mapping[str, Path]) -> Band:
    """The first images of a prompt."""
    ids = list(range(COLUMNS))
    images = {arm: BatchFolder.open(stages[f"generate/{arm}"]).images(ids) for arm in ARMS}
    modes = [load_arm(stages["evaluate"], arm).modes[: len(ids)] for arm in ARMS]
    return Band(f'"an emoji of a {row}"', images, (np.asarray(modes[0]) != np.asarray(modes[1])).tolist())


def draw(bands: Sequence[Band]) -> Image.Image:
    """Lay bands out below each other, the arms of each above each other.

    Example:
        >>> import torch
        >>> draw([Band("a cook", {arm: torch.zeros(12, 3, 64, 64) for arm in ARMS}, [True] * 12)]).size
        (900, 172)
    """
    cell, height = SIDE + GAP, TITLE + 2 * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (LEFT + COLUMNS * cell + GAP, len(bands) * height + GAP), (255, 255, 255))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for place, it in enumerate(bands):
        top = place * height + TITLE + GAP
        pen.text((LEFT, top - TITLE), it.title, fill=INK, font=font)
        for row, arm in enumerate(ARMS):
            pen.text((GAP, top + row * cell + SIDE // 2 - 8), arm, fill=INK, font=font)
            for column, image in enumerate(it.images[arm]):
                picture = Image.fromarray(to_uint8(image).permute(1, 2, 0).numpy()).resize((SIDE, SIDE))
                sheet.paste(picture, (LEFT + column * cell, top + row * cell))
        for column in np.flatnonzero(it.changed).tolist():
            x = LEFT + column * cell
            pen.rectangle((x - 2, top - 2, x + SIDE + 1, top + SIDE + cell + 1), outline=FRAME, width=2)
    return sheet


if __name__ == "__main__":
    main(sys.argv[1:])
