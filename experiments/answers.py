"""Which images answer to an edit, and what has the projector's training noise to do with it? "an emoji of a person".

Transport that tries no more images than have to turn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from experiments.person_arms import STUDY
from experiments.pooled import ROOT, run_jobs, write_study
from experiments.variants import NO_TRIALS, SHARP, SOFT, STRONG
from selfdebias.jobs.sweeps.pooling import stages_of
from selfdebias.metrics.arms import load_arm

VARIANTS = {
    "0.3, strength 12": [SHARP, STRONG],
    "2, strength 12": [STRONG],
    "2, strength 6": [],
}
HEADER = (
    "| Noise that the projector was trained with | given | vanilla twin in | came to | images | size of the edit, first step | "
    "half way | last step |\n|" + "---|" * 8
)


def main(arguments: Sequence[str], seeds: Sequence[int] = STUDY.seeds) -> None:
    """Run the jobs over the seeds, and write the table.

    Args:
        arguments: overrides of the command line.
        seeds: generate seeds.
    """
    every = {name: run_jobs([*SOFT, *NO_TRIALS, *variant, *arguments], seeds) for name, variant in VARIANTS.items()}
    rows = {name: _rows(jobs) for name, jobs in every.items()}
    text = [
        f"# Which images answer, generate seeds {', '.join(map(str, seeds))}", "", "`python -m experiments.answers`", "",
        HEADER, *(_line(name, it) for name, own in rows.items() for it in own), "",
        "Modes by their number, the largest is 0. Given: the mode that transport gave the image; it came to that of the nearest "
        "centre, by its embedding. Sizes are relative to `||h||`, at most 2; those of images in their mode are near 0.", "",
        *(_sum(name, own) for name, own in rows.items()),
    ]  # fmt: skip
    hashes = {name: [job.name for job in jobs] for name, jobs in every.items()}
    results = {name: {"rows": own, "config_hashes": hashes[name]} for name, own in rows.items()}
    write_study("answers", "\n".join(text), results)


def _rows(jobs: Sequence[Path]) -> list[dict]:
    """How many images went which way, and the mean size of their edits."""
    given, was, came, sizes = (np.concatenate(found) for found in zip(*map(_of_job, jobs), strict=True))
    rows = []
    for groups in sorted({*zip(given.tolist(), was.tolist(), came.tolist(), strict=True)}):
        chosen = (given == groups[0]) & (was == groups[1]) & (came == groups[2])
        means = sizes[chosen].mean(axis=0)
        steps = [float(means[index]) for index in (0, len(means) // 2, -1)]
        rows += [{"modes": [int(mode) for mode in groups], "images": int(chosen.sum()), "sizes": steps}]
    return rows


def _line(name: str, it: dict) -> str:
    sizes = (f"{size:.2f}" for size in it["sizes"])
    return "| " + " | ".join([name, *map(str, it["modes"]), str(it["images"]), *sizes]) + " |"


def _sum(name: str, rows: Sequence[dict]) -> str:
    """How many of the images that were given another mode than their twin's came to it."""
    to_turn = [it for it in rows if it["modes"][0] != it["modes"][1]]
    came = sum(it["images"] for it in to_turn if it["modes"][0] == it["modes"][2])
    return f"- Noise {name}: of {sum(it['images'] for it in to_turn)} images that were to turn, {came} did."


def _of_job(job: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The mode that each image was given, that of its vanilla twin and its own, (N,), and the sizes of its edits, (N, steps)."""
    stages = stages_of(job, Path(ROOT))
    batches = [load_file(path) for path in sorted(stages["generate/guided"].glob("batch-*.safetensors"))]
    arms = [load_arm(stages["evaluate"], arm) for arm in ("vanilla", "guided")]
    assert all(np.array_equal(arm.ids, np.arange(len(arm.ids))) for arm in arms)
    given = np.concatenate([batch["assigned"] for batch in batches])
    sizes = np.concatenate([batch["edit_norm"] for batch in batches], axis=1)
    return given, arms[0].modes, arms[1].modes, sizes.T


if __name__ == "__main__":
    main(sys.argv[1:])
