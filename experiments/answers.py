"""Which images answer to an edit? Transport that tries no more images than have to turn, "an emoji of a person"."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from experiments.person_arms import STUDY
from experiments.pooled import ROOT, run_jobs, write_study
from experiments.variants import NO_TRIALS
from selfdebias.metrics.arms import load_arm
from selfdebias.sweeps.pooling import stages_of

HEADER = (
    "| Given | vanilla twin in | came to | images | size of the edit, first step | half way | last step |\n|"
    + "---|" * 7
)


def main(arguments: Sequence[str], seeds: Sequence[int] = STUDY.seeds) -> None:
    """Run the jobs over the seeds, and write the table.

    Args:
        arguments: overrides of the command line.
        seeds: generate seeds.
    """
    jobs = run_jobs([*NO_TRIALS, *arguments], seeds)
    given, was, came, sizes = (np.concatenate(found) for found in zip(*map(_of_job, jobs), strict=True))
    rows = []
    for groups in sorted({*zip(given.tolist(), was.tolist(), came.tolist(), strict=True)}):
        chosen = (given == groups[0]) & (was == groups[1]) & (came == groups[2])
        means = sizes[chosen].mean(axis=0)
        steps = [float(means[index]) for index in (0, len(means) // 2, -1)]
        rows += [{"modes": [int(mode) + 1 for mode in groups], "images": int(chosen.sum()), "sizes": steps}]
    lines = [
        "| " + " | ".join([*map(str, it["modes"]), str(it["images"]), *(f"{size:.2f}" for size in it["sizes"])]) + " |"
        for it in rows
    ]
    text = [
        f"# Which images answer, generate seeds {', '.join(map(str, seeds))}", "", "`python -m experiments.answers`", "",
        HEADER, *lines, "",
        "Modes by their number, the largest first. Given: the mode that transport gave the image; it came to that of the nearest "
        "centre, by its embedding. Sizes are relative to `||h||`, at most 2; those of images in their mode are near 0.",
    ]  # fmt: skip
    write_study("answers", "\n".join(text), {"rows": rows, "config_hashes": [job.name for job in jobs]})


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
