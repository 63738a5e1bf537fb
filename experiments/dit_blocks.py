"""Where a transformer knows the mode: held-out accuracy of the projector by block and step, `model=emoji_dit`, "a person".

    python -m experiments.dit_blocks [WORD ...]

Words choose the variants whose names hold one of them, all without a word. The modes are those that were discovered; no label is
read. Where an edit does best is another question, which `dit_levers` and `dit_slack` ask.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.person_axes import HONEST, TOLD
from experiments.pooled import ROOT, run_jobs
from experiments.variants import Every, run_variants
from selfdebias.jobs.sweeps.pooling import stages_of

NAME, BLOCKS, GROUP = "dit_blocks", list(range(7)), 5
COMMON = ["model=emoji_dit", f"model.blocks={BLOCKS}".replace(" ", ""), "stages=[collect,discover,project]"]
FOUND = {"captions, axes": [*HONEST, "clustering=axes"], "attributes, partition": [*TOLD, "clustering=spectral"]}
READERS = {
    "2 x 2 places, the default": [],
    "the mean of all places": ["projector.reader=pooled"],
    "all places, convolutional": ["projector.reader=convolutional", "projector.resolution=8"],
}
VARIANTS = {
    f"{found}; {reader}": [*COMMON, *modes, *own] for found, modes in FOUND.items() for reader, own in READERS.items()
}


def measure(overrides: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Fit a projector after each block, and return what the project stage measured: accuracy by block and timestep, and N."""
    job = run_jobs(overrides, seeds)[0]
    said = json.loads((stages_of(job, Path(ROOT))["project"] / "project.json").read_text())
    cond = {block: it["cond"] for block, it in said["accuracy_by_block"].items()}
    return {
        "accuracy": cond,
        "best": said["block"],
        "held_out_images": said["held_out_images"],
        "config_hashes": [job.name],
    }


def page(every: Every) -> str:
    """A table for each variant: a row for each block, a column for each `GROUP` of recorded timesteps, from noise to image."""
    text = [
        "# Accuracy of the projector by block and step",
        "",
        f"`python -m experiments.{NAME}`: {len(every)} of its {len(VARIANTS)} variants. Share of held-out images whose nearest "
        "centroid is the mode that was discovered for them (of axes: of sides, the mean over axes), conditional branch, by "
        f"timestep, of 1000 (noise) to 0 (the image): means over {GROUP} steps each, and over all. Each step by itself: "
        "dit_blocks.json. No label is read.",
    ]
    for name in [it for it in VARIANTS if it in every]:
        it = every[name]
        steps = sorted(next(iter(it["accuracy"].values())), key=float, reverse=True)
        groups = [steps[i : i + GROUP] for i in range(0, len(steps), GROUP)]
        lines = [
            f"| {block} | {' | '.join(f'{_mean(own, group):.3f}' for group in groups)} | {_mean(own, steps):.3f} |"
            for block, own in it["accuracy"].items()
        ]
        spans = " | ".join(f"{float(group[0]):.0f} to {float(group[-1]):.0f}" for group in groups)
        text += [
            "",
            f"## {name[:1].upper()}{name[1:]}",
            "",
            f"{it['held_out_images']} held-out images. Best on the mean: block {it['best']}.",
            "",
            f"| After block | {spans} | mean |\n|{'---|' * (len(groups) + 2)}",
            *lines,
        ]
    return "\n".join(text)


def _mean(accuracy: Mapping[str, float], steps: Sequence[str]) -> float:
    return sum(accuracy[it] for it in steps) / len(steps)


def main(arguments: Sequence[str]) -> None:
    """Fit the variants whose names hold one of the words, all without a word; keep what is measured of the others."""
    asked = [name for name in VARIANTS if any(word in name for word in arguments or [""])]
    seeds = dict.fromkeys(VARIANTS, (301,))  # no image is generated
    run_variants(NAME, VARIANTS, asked, seeds, page, measure)


if __name__ == "__main__":
    main(sys.argv[1:])
