"""What moves the shares: strength, branch, smoothness of the projector, window, temperature, memory, on development seeds.

The default configuration is chosen here, on seeds that no result uses.
"""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, write_study

SEEDS = (101,)
CONTRAST = ["guidance.branch=contrast"]
BASE = ["guidance.branch=cond", "guidance.temperature=0.1"]
VARIANTS = {
    "cond, tau 0.1, s 4": [*BASE, "guidance.strength=4"],
    "cond, tau 0.1, s 6": [*BASE, "guidance.strength=6"],
    "contrast, tau 0.1, s 4": [*CONTRAST, "guidance.temperature=0.1", "guidance.strength=4"],
    "cond, tau 0.3, s 2.4, limit 1.2": ["guidance.branch=cond", "guidance.strength=2.4", "guidance.limit=1.2"],
    "cond, tau 0.3, s 4, limit 1.2": ["guidance.branch=cond", "guidance.strength=4", "guidance.limit=1.2"],
    "cond, tau 0.6, s 4, limit 1.2": [
        "guidance.branch=cond", "guidance.temperature=0.6", "guidance.strength=4", "guidance.limit=1.2",
    ],
    "contrast, tau 0.2, s 4, limit 1": ["guidance.temperature=0.2", "guidance.strength=4", "guidance.limit=1.0"],
    "contrast, tau 0.2, s 6, limit 1.6": ["guidance.temperature=0.2", "guidance.limit=1.6"],
    "contrast, tau 0.2, s 8, limit 2, first 30% of the steps": [
        "guidance.temperature=0.2", "guidance.strength=8", "schedule.stop=0.3",
    ],
    "contrast, tau 0.3, s 4, limit 1": ["guidance.strength=4", "guidance.limit=1.0"],
    "the same, first 60% of the steps": ["guidance.strength=4", "guidance.limit=1.0", "schedule.stop=0.6"],
    "the same, noise 0.8 on h_t": ["guidance.strength=4", "guidance.limit=1.0", "projector.noise=0.8"],
    "the same, memory 0.9": ["guidance.strength=4", "guidance.limit=1.0", "guidance.decay=0.9"],
    "contrast, tau 0.3, s 6, limit 2 (default)": [],
    "contrast, tau 0.5, s 8, limit 1, first 70% of the steps": [
        "guidance.temperature=0.5", "guidance.strength=8", "guidance.limit=1.0", "schedule.stop=0.7",
    ],
}  # fmt: skip


def main(overrides: list[str], seeds: tuple[int, ...] = SEEDS) -> None:
    """Run every variant over the development seeds, and write one table."""
    every = {name: run_pooled([*overrides, *variant], seeds) for name, variant in VARIANTS.items()}
    first = next(iter(every.values()))
    rows = [row("vanilla", first, "vanilla"), *(row(name, results, "guided") for name, results in every.items())]
    title = f'# Levers, "an emoji of a person", on development seeds {", ".join(map(str, seeds))}'
    write_study("levers", "\n".join([title, "", "`python -m experiments.levers`", "", HEADER, *rows]), every)


if __name__ == "__main__":
    main(sys.argv[1:])
