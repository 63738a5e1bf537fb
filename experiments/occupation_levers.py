"""What moves occupations, with modes carried over from "a person": six of them, one development seed, 64 images each.

The configuration of `experiments.occupations` is chosen here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.occupations import EXTREME, LOOKED_AT, LOWER, ROW, STAGES, below, mean_row
from experiments.pooled import ROOT, run_jobs, write_study
from selfdebias.sweeps.pooling import pool_jobs

SEEDS = (101,)
COMMON = [
    "prompts=emoji_occupations", "bank=carried", "vocabulary=none",
    f"prompts.subjects=[{', '.join(f'a {name}' for name in LOOKED_AT)}]",
    "prompts.attributes=[gender, tone, occupation]", "collect.n_images=128", "generate.n_images=64", STAGES,
]  # fmt: skip
FIRST = "schedule.start=0"
VARIANTS = {
    "self_debias": ["guidance=self_debias"],
    "self_debias, from the first step on": ["guidance=self_debias", FIRST],
    "self_debias, temperature 0.1": ["guidance=self_debias", "guidance.temperature=0.1"],
    "mean_difference": ["guidance=mean_difference"],
    "transport, from the first step on": ["guidance=transport", FIRST],
    "transport, from the first step on, fitted at guidance scale 1.5": ["guidance=transport", FIRST, *LOWER],
}


def main(arguments: Sequence[str], seeds: Sequence[int] = SEEDS) -> None:
    """Run the variants, and write one table.

    Args:
        arguments: overrides of the command line.
        seeds: generate seeds.
    """
    jobs = {name: run_jobs([*COMMON, *variant, *arguments], seeds) for name, variant in VARIANTS.items()}
    reference = next(iter(jobs.values()))[0]  # of the model's own guidance scale
    every = {
        name: {**pool_jobs(own, Path(ROOT), reference), "config_hashes": [job.name for job in own]}
        for name, own in jobs.items()
    }
    lines = []
    for name, results in every.items():
        usual = [row for row in results["rows"] if row not in EXTREME]
        lines += [mean_row(f"{name}: the {len(usual)}", results["rows"], usual)]
        lines += [mean_row(f"{name}: doctor", results["rows"], ["doctor"])]
    text = [f"# Levers of occupations, development seed {', '.join(map(str, seeds))}", ""]
    text += ["`python -m experiments.occupation_levers`.", "", ROW, *lines, "", below(next(iter(every.values())))]
    write_study("occupation_levers", "\n".join(text), every)


if __name__ == "__main__":
    main(sys.argv[1:])
