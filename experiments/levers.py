"""What moves the shares: strength, branch, smoothness of the projector, window, temperature, memory, on development seeds.

The default configuration is chosen here, on seeds that no result uses.
"""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, write_study

SEEDS = (101, 102)
VARIANTS = {
    "strength 2.4": ["guidance.strength=2.4"],
    "strength 4": ["guidance.strength=4"],
    "strength 6": ["guidance.strength=6"],
    "strength 4, contrast": ["guidance.strength=4", "guidance.branch=contrast"],
    "strength 6, contrast": ["guidance.strength=6", "guidance.branch=contrast"],
    "strength 4, noise 0.6 on h_t": ["guidance.strength=4", "projector.noise=0.6"],
    "strength 4, noise 1.0 on h_t": ["guidance.strength=4", "projector.noise=1.0"],
    "strength 4, first 60% of the steps": ["guidance.strength=4", "schedule.stop=0.6"],
    "strength 4, temperature 0.3": ["guidance.strength=4", "guidance.temperature=0.3"],
    "strength 4, memory 0.9": ["guidance.strength=4", "guidance.decay=0.9"],
}


def main(overrides: list[str], seeds: tuple[int, ...] = SEEDS) -> None:
    """Run every variant over the development seeds, and write one table."""
    every = {name: run_pooled([*overrides, *variant], seeds) for name, variant in VARIANTS.items()}
    first = next(iter(every.values()))
    rows = [row("vanilla", first, "vanilla"), *(row(name, results, "guided") for name, results in every.items())]
    title = f'# Levers, "an emoji of a person", on development seeds {", ".join(map(str, seeds))}'
    write_study("levers", "\n".join([title, "", "`python -m experiments.levers`", "", HEADER, *rows]), every)


if __name__ == "__main__":
    main(sys.argv[1:])
