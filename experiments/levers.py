"""What moves the shares: strength, branch, smoothness of the projector, window, temperature, memory, on development seeds.

The default configuration is chosen here, on seeds that no result uses.
"""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, who_judged, write_study

SEEDS = (101, 102)
VARIANTS = {
    "default": [],
    "strength 3": ["guidance.strength=3"],
    "strength 6": ["guidance.strength=6"],
    "kappa 0.01": ["guidance.kappa=0.01"],
    "temperature 0.1": ["guidance.temperature=0.1"],
    "slack 1": ["guidance.slack=1"],
    "all images of a mode that has too many (slack 1000)": ["guidance.slack=1000"],
    "limit 1": ["guidance.limit=1"],
    "conditional branch alone": ["guidance.branch=cond"],
    "both branches alike": ["guidance.branch=both"],
    "from the first step on": ["schedule.start=0"],
    "up to 60% of the steps": ["schedule.stop=0.6"],
    "projector without noise": ["projector.noise=0"],
    "memory 0.9": ["guidance.decay=0.9"],
}


def main(overrides: list[str], seeds: tuple[int, ...] = SEEDS) -> None:
    """Run every variant over the development seeds, and write one table."""
    every = {name: run_pooled([*overrides, *variant], seeds) for name, variant in VARIANTS.items()}
    first = next(iter(every.values()))
    rows = [row("vanilla", first, "vanilla"), *(row(name, results, "guided") for name, results in every.items())]
    title = f'# Levers, "an emoji of a person", on development seeds {", ".join(map(str, seeds))}'
    text = [title, "", "`python -m experiments.levers`", "", HEADER, *rows, "", who_judged(first)]
    write_study("levers", "\n".join(text), every)


if __name__ == "__main__":
    main(sys.argv[1:])
