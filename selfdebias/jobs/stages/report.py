"""Last stage: writes the page, the table and their pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from selfdebias.report.folders import material_of_folders
from selfdebias.report.gallery import curve_charts, map_charts, p_hat_charts, share_charts
from selfdebias.report.job_table import markdown_table
from selfdebias.report.material import Material, read_material
from selfdebias.report.measures import arms_of
from selfdebias.report.page import ArmPairs, Pictures, render_page
from selfdebias.report.pairs import first_row, of_other_seeds, pair_sheet, pairs_of, within_budget
from selfdebias.report.trial import trial_in, trial_verdict
from selfdebias.storage.atomic import write_bytes, write_text
from selfdebias.storage.images import contact_sheet

VERSION = 3
CONFIG = ("report",)
FIGURES = "figures"
FIRST = "first"  # the figure of the first images, for the page of a list of prompts


def report(
    folder: Path,
    job: Mapping[str, Any],
    arms: Mapping[str, Path],
    collected: Path,
    discovered: Path,
    projected: Path | None,
    evaluated: Path,
    images: int,
) -> None:
    """Writes `report.html`, `table.md` and `figures/*.png` from what the other stages left.

    Args:
        folder: The stage's own folder.
        job: `{"config": resolved configuration, "command": command line}`.
        arms: Folder of each arm, a vanilla arm among them.
        collected: Folder of the collect stage (nothing is read from it: its images are in the mode sheets).
        discovered: Folder of the discover stage.
        projected: Folder of the project stage; None for a job without guidance.
        evaluated: Folder of the evaluate stage.
        images: Number of pairs to show, at least 1.

    Raises:
        ValueError: If `images` is below 1 or there is no vanilla arm.
    """
    if images < 1:
        raise ValueError(f"`images` must be at least 1, got {images}.")
    material = read_material(job, arms, discovered, projected, evaluated)
    pictures, sheets = _pictures(material, images)
    charts = {chart.name: chart.light for its in pictures.charts.values() for chart in its}
    files = {f"{name}.png": png for name, png in {**sheets, **charts}.items()}
    for name, png in files.items():
        write_bytes(Path(folder) / FIGURES / name, png)
    for path in (Path(folder) / FIGURES).iterdir():
        if path.name not in files:  # of a page that was written before
            path.unlink()
    trial = trial_in(job.get("command"))
    first = f"{trial_verdict(trial).sentence}\n\n" if trial else ""
    write_text(Path(folder) / "table.md", first + markdown_table(material.results))
    write_text(Path(folder) / "report.html", render_page(material, pictures))


def page_of_folders(job: Mapping[str, Any], evaluated: Path, discovered: Path | None, images: int) -> str:
    """The page of an evaluation of folders; arguments as of `report`, and None where no modes are known."""
    material = material_of_folders(job, evaluated, discovered)
    return render_page(material, _pictures(material, images)[0])


@lru_cache(maxsize=1)
def writer() -> str:
    """A hash of the code that pages and tables are written by: of a finished job they are written again once it has changed."""
    package, hashed = Path(__file__).parents[2], hashlib.sha256(Path(__file__).read_bytes())
    for room in ("report", "metrics"):
        for path in sorted(path for path in (package / room).iterdir() if path.suffix in (".py", ".j2")):
            hashed.update(path.read_bytes())
    return hashed.hexdigest()[:16]


def read_figures(folder: Path) -> dict[str, bytes]:
    """All figures of a finished report stage, PNG files by name, for whoever logs the job."""
    return {path.stem: path.read_bytes() for path in sorted((Path(folder) / FIGURES).glob("*.png"))}


def _pictures(material: Material, images: int) -> tuple[Pictures, dict[str, bytes]]:
    """Pictures of the page, and the sheets that are kept as files: modes, image grids and pairs of each arm."""
    compared = arms_of(material.results)[1:]
    every = [ArmPairs(name, pairs_of(material, name, images), *of_other_seeds(material, name)) for name in compared]
    shown = [it for it in every if it.pairs]
    alone = [it.arm for it in every if not it.pairs] if shown else arms_of(material.results)
    tiles = {f"{it.arm}-{pair.id}": pair.picture for it in shown for pair in it.pairs}
    grids = {name: _grid(material, name, images) for name in material.arms}
    modes = {f"mode-{mode}": sheet for mode, sheet in material.sheets.items()}
    on_page = {**modes, **tiles, **{f"grid-{name}": grids[name] for name in alone}}
    charts = {
        "shares": share_charts(material.results),
        "p_hat": p_hat_charts(material),
        "curves": curve_charts(material),
        "maps": map_charts(material),
    }
    sheets = {FIRST: first_row(material), **modes, **{f"images-{name}": grid for name, grid in grids.items()}}
    for it in shown:
        sheets[f"pairs-{it.arm}"] = pair_sheet([pair.picture for pair in it.pairs], _columns(len(it.pairs)))
    return Pictures(within_budget(on_page), shown, charts, alone), within_budget(sheets)


def _grid(material: Material, name: str, images: int) -> Image.Image:
    arm = material.arms[name]
    ids = [*arm.modes][:images]
    return contact_sheet(arm.folder.images(ids), _columns(len(ids)))


def _columns(count: int) -> int:
    """Columns of a sheet about twice as wide as it is high."""
    return max(1, math.ceil(math.sqrt(2 * count)))
