"""The images of a sweep's jobs beside each other, from the same seeds: a row for each job, or a grid where two keys are swept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from selfdebias.jobs.sweeps.columns import short_names
from selfdebias.jobs.sweeps.finished import Source, SweptJob
from selfdebias.jobs.sweeps.pooling import stages_of
from selfdebias.metrics.arms import load_arm
from selfdebias.report.measures import arms_of
from selfdebias.report.pairs import FRAME, pair_sheet
from selfdebias.report.wording import plain
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import GAP_GREY, contact_sheet

SEED = "generate.seed"
IN_ROW, IN_CELL = 8, 4  # images of a job
WIDEST = 6  # columns of a grid
SMALLEST, SIDE = 96, 160  # pixels of the longer side of an image
GONE = "its images are not under the root of runs, or damaged"


@dataclass(frozen=True)
class Cell:
    """What is shown of one job.

    Attributes:
        job: its name.
        label: its swept values.
        picture: the name of its picture; "" where there is none.
        why: why there is none.
    """

    job: str
    label: str
    picture: str = ""
    why: str = ""


@dataclass(frozen=True)
class Block:
    """The jobs of one generate seed.

    Attributes:
        title: which seed, "" where there is one alone.
        vanilla: name of the picture without guidance; "" where each job has its own, which its picture then has above.
        columns: titles of the grid's columns; none where there is a row for each job.
        rows: the title of each row and its cells, None where there is no such job.
    """

    title: str
    vanilla: str
    columns: list[str]
    rows: list[tuple[str, list[Cell | None]]]

    @property
    def has_pairs(self) -> bool:
        """Whether its pictures have vanilla images above those of the job."""
        return not self.vanilla and any(cell and cell.picture for _, cells in self.rows for cell in cells)


@dataclass(frozen=True)
class Drawn:
    """The first images of a job: those without guidance, those of its guided arm ([] where it has none), and which changed.

    Attributes:
        stages: where the images without guidance are from.
        vanilla: pictures.
        guided: pictures from the same seeds.
        changed: whether the two belong to different modes.
    """

    stages: tuple[str, ...]
    vanilla: list[Image.Image]
    guided: list[Image.Image]
    changed: list[bool]


def image_blocks(source: Source) -> tuple[list[Block], dict[str, Image.Image]]:
    """The images of all jobs, and the pictures by name."""
    pictures: dict[str, Image.Image] = {}
    seeds = dict.fromkeys(job.values.get(SEED, "") for job in source.jobs)
    blocks = []
    for place, seed in enumerate(seeds):
        jobs = [job for job in source.jobs if job.values.get(SEED, "") == seed]
        title = f"{SEED} {plain(seed)}" if len(seeds) > 1 else ""
        blocks.append(_block(jobs, [key for key in source.keys if key != SEED], title, str(place), pictures))
    return blocks, pictures


def _block(
    jobs: Sequence[SweptJob], keys: Sequence[str], title: str, name: str, pictures: dict[str, Image.Image]
) -> Block:
    grid = _grid(jobs, keys)
    count, across = (IN_CELL, 4 if len(grid[1]) < 3 else 2) if grid else (IN_ROW, IN_ROW)
    found = {job.name: _drawn(job, count) for job in jobs if not job.why}
    drawn = [it for it in found.values() if it is not None]
    shared = len({it.stages for it in drawn}) == 1
    if shared:
        pictures[f"vanilla-{name}"] = pair_sheet([_tile([it], False) for it in drawn[0].vanilla], across)
    cells = {}
    for job in jobs:
        label, its = _label(job, keys), found.get(job.name)
        if its is None:
            cells[job.name] = Cell(job.name, label, why=plain(job.why) or GONE)
        elif shared and not its.guided:
            cells[job.name] = Cell(job.name, label, why="without guidance: the vanilla images")
        else:
            pictures[job.name] = pair_sheet(_tiles(its, shared), across)
            cells[job.name] = Cell(job.name, label, picture=job.name)
    vanilla = f"vanilla-{name}" if shared else ""
    if grid is None:
        return Block(title, vanilla, [], [(cell.label, [cell]) for cell in cells.values()])
    rows, columns, places = grid
    return Block(
        title, vanilla, columns, [(row, [cells.get(places.get((row, it), "")) for it in columns]) for row in rows]
    )


def _grid(
    jobs: Sequence[SweptJob], keys: Sequence[str]
) -> tuple[list[str], list[str], dict[tuple[str, str], str]] | None:
    """Titles of rows and columns where two keys are swept, and the job of each pair; None where they span no grid."""
    if len(keys) != 2:
        return None
    titles = [list(dict.fromkeys(_label(job, [key], keys) for job in jobs)) for key in keys]
    first, second = (0, 1) if len(titles[1]) <= len(titles[0]) else (1, 0)
    rows, columns = titles[first], titles[second]
    places = {(_label(job, [keys[first]], keys), _label(job, [keys[second]], keys)): job.name for job in jobs}
    full = len(places) == len(jobs) and 4 * len(jobs) >= 3 * len(rows) * len(columns)  # a search fills no grid
    return (rows, columns, places) if full and len(columns) <= WIDEST else None


def _label(job: SweptJob, shown: Sequence[str], keys: Sequence[str] | None = None) -> str:
    """The values of a job's keys, with the shortest names that `keys` have."""
    names = short_names(keys or shown)
    return ", ".join(f"{plain(names[key])}={plain(job.values.get(key, ''))}" for key in shown) or job.name


def _drawn(job: SweptJob, count: int) -> Drawn | None:
    """The first images of a job by id, of a list of prompts those of the first prompts; None where they are gone."""
    assert job.folder is not None
    results = json.loads((job.folder / "results.json").read_text())
    prompts = results.get("row_names", list(results["rows"]))[:count] if "rows" in results else [""]
    parts = []
    for prompt in prompts:
        one = results["rows"][prompt] if prompt else results
        try:
            parts.append(_of_prompt(stages_of(job.folder, job.root, prompt), one, max(1, count // len(prompts))))
        except (ValueError, OSError, KeyError):
            return None
    return Drawn(
        tuple(stage for part in parts for stage in part.stages),
        [it for part in parts for it in part.vanilla],
        [it for part in parts for it in part.guided],
        [it for part in parts for it in part.changed],
    )


def _of_prompt(stages: Mapping[str, Any], results: Mapping[str, Any], count: int) -> Drawn:
    arms = [arm for arm in arms_of(results) if arm != "vanilla" and f"generate/{arm}" in stages]
    first, modes = str(stages["generate/vanilla"]), _modes(stages["evaluate"], "vanilla")
    ids = sorted(modes)[:count]
    vanilla = _pictures(BatchFolder.open(stages["generate/vanilla"]).images(ids))
    if not arms:
        return Drawn((first,), vanilla, [], [])
    own = _modes(stages["evaluate"], arms[0])
    guided = _pictures(BatchFolder.open(stages[f"generate/{arms[0]}"]).images(ids))
    return Drawn((first,), vanilla, guided, [own.get(i) != modes[i] for i in ids])


def _modes(evaluated: Any, arm: str) -> dict[int, int]:
    found = load_arm(evaluated, arm)
    return dict(zip(found.ids.tolist(), found.modes.tolist(), strict=True))


def _pictures(images: Tensor) -> list[Image.Image]:
    pictures = [contact_sheet(image[None], 1, gap=0) for image in images]
    times = -(-SMALLEST // max(pictures[0].size))
    if times > 1:
        return [it.resize((it.width * times, it.height * times), Image.Resampling.NEAREST) for it in pictures]
    for picture in pictures:
        picture.thumbnail((SIDE, SIDE))
    return pictures


def _tiles(drawn: Drawn, shared: bool) -> list[Image.Image]:
    """The guided images, framed where the mode changed, each below its vanilla twin where jobs do not share them."""
    if not drawn.guided:
        return [_tile([it], False) for it in drawn.vanilla]
    pairs = zip(drawn.vanilla, drawn.guided, drawn.changed, strict=True)
    return [_tile([own] if shared else [before, own], changed) for before, own, changed in pairs]


def _tile(pictures: Sequence[Image.Image], changed: bool) -> Image.Image:
    """Pictures of one size above each other, in a border."""
    width, height = pictures[0].size
    border = max(3, width // 20)
    size = (width + 2 * border, len(pictures) * (height + border) + border)
    tile = Image.new("RGB", size, FRAME if changed else GAP_GREY)
    for place, picture in enumerate(pictures):
        tile.paste(picture, (border, border + place * (height + border)))
    return tile
