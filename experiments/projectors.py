"""How the projector reads `h_t`: pooled, convolutional or flattened; held-out cosine, retrieval among 64, and effect."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from experiments.pooled import ROOT, header, row, run_pooled, who_judged, write_study
from experiments.variants import EARLIER
from selfdebias.modes.projection import SemanticProjector

SEEDS = (101, 102, 103)
READERS = ("pooled", "convolutional", "flattened")
IMAGES = ["guidance=self_debias", *EARLIER, "collect.n_images=512"]  # an eighth of them, 64, is held out


def main(overrides: list[str]) -> None:
    """Run each reader over the development seeds, and write both tables."""
    every = {name: run_pooled([*overrides, *IMAGES, f"projector={name}"], SEEDS) for name in READERS}
    first = next(iter(every.values()))
    rows = [row("vanilla", first, "vanilla"), *(row(name, results, "guided") for name, results in every.items())]
    text = [
        f'# What the projector reads, "an emoji of a person", on development seeds {", ".join(map(str, SEEDS))}', "",
        "`python -m experiments.projectors`; 512 images to fit on, of which 64 are held out.", "",
        "| Reader | weights | held-out cosine | retrieval among 64 | the same, t > 880 | right mode, t > 880 |",
        "|---|---|---|---|---|---|",
        *(_fit(name, results) for name, results in every.items()), "", header(*every.values()), *rows, "", who_judged(first),
    ]  # fmt: skip
    write_study("projectors", "\n".join(text), every)


def _fit(name: str, results: dict) -> str:
    """Write what the project stage measured on the held-out images."""
    job = json.loads((Path(ROOT) / "jobs" / results["config_hashes"][0] / "job.json").read_text())
    folder = Path(ROOT) / job["stages"]["project"]
    measured = json.loads((folder / "project.json").read_text())
    results["projector"] = measured
    weights = sum(p.numel() for p in SemanticProjector.load(folder / "projector.safetensors").parameters())
    retrieval, early = measured["retrieval"], measured["retrieval"]["by_timestep"]["cond"]
    mode = measured["accuracy_by_timestep"]["cond"]
    late = [t for t in early if float(t) > 880]
    cells = [
        name, f"{weights / 1e6:.2f} M", f"{measured['cosine_held_out']:.3f}", f"{retrieval['value']:.3f}",
        f"{sum(early[t] for t in late) / len(late):.3f}", f"{sum(mode[t] for t in late) / len(late):.3f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main(sys.argv[1:])
