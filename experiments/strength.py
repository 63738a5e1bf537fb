"""Choose the strength of `guidance=self_debias` on development seeds: "an emoji of a person", seeds that no result uses."""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, write_study

SEEDS = (101, 102)
STRENGTHS = (0.8, 1.6, 2.4, 3.2, 4.0)


def main(overrides: list[str]) -> None:
    """Run every strength over the development seeds."""
    every = {s: run_pooled([*overrides, f"guidance.strength={s}"], SEEDS) for s in STRENGTHS}
    first = next(iter(every.values()))
    rows = [
        row("vanilla", first, "vanilla"),
        *(row(f"strength {s}", results, "guided") for s, results in every.items()),
    ]
    title = f"# Strength, on development seeds {SEEDS}\n\n`python -m experiments.strength`"
    write_study("strength", "\n".join([title, "", HEADER, *rows]), {str(s): results for s, results in every.items()})


if __name__ == "__main__":
    main(sys.argv[1:])
