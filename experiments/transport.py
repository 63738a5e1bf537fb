"""Transport against the gradient of the batch, and each one's options, on development seeds.

The default guidance is chosen here, on seeds that no result uses.
"""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, who_judged, write_study

SEEDS = (101, 102)
TRANSPORT = "guidance=transport"
VARIANTS = {
    "self_debias, as it is by default": ["guidance=self_debias"],
    "transport 12": [TRANSPORT, "guidance.strength=12"],
    "transport 24, limit 4": [TRANSPORT, "guidance.strength=24", "guidance.limit=4"],
    "transport 6": [TRANSPORT, "guidance.strength=6"],
    "transport 12, from the first step on": [TRANSPORT, "guidance.strength=12", "schedule.start=0"],
    "transport 12, conditional branch alone": [TRANSPORT, "guidance.strength=12", "guidance.branch=cond"],
    "transport 12, calibrated temperature": [TRANSPORT, "guidance.strength=12", "guidance.temperature=calibrated"],
    "transport 12, weight falling along a cosine": [TRANSPORT, "guidance.strength=12", "schedule=cosine"],
    "self_debias, three inner steps": ["guidance=self_debias", "guidance.inner_steps=3"],
    "self_debias, length searched (5 halvings)": ["guidance=self_debias", "guidance.halvings=5"],
    "self_debias, calibrated temperature": ["guidance=self_debias", "guidance.temperature=calibrated"],
    "mean_difference": ["guidance=mean_difference"],
}


def main(arguments: list[str], seeds: tuple[int, ...] = SEEDS) -> None:
    """Run the variants, and write one table, anew after each of them.

    Args:
        arguments: overrides of the command line; words without ``=`` choose the variants whose names hold one of them.
        seeds: development seeds.
    """
    overrides = [text for text in arguments if "=" in text]
    words = [text for text in arguments if "=" not in text] or [""]
    every: dict[str, dict] = {}
    for name, variant in VARIANTS.items():
        if any(word in name for word in words):
            every[name] = run_pooled([*overrides, *variant], seeds)
            _write(every, seeds)


def _write(every: dict[str, dict], seeds: tuple[int, ...]) -> None:
    first = next(iter(every.values()))
    rows = [row("vanilla", first, "vanilla"), *(row(name, results, "guided") for name, results in every.items())]
    title = f'# Transport and its rivals, "an emoji of a person", on development seeds {", ".join(map(str, seeds))}'
    command = f"`python -m experiments.transport`: {len(every)} of its {len(VARIANTS)} variants."
    write_study("transport", "\n".join([title, "", command, "", HEADER, *rows, "", who_judged(first)]), every)


if __name__ == "__main__":
    main(sys.argv[1:])
