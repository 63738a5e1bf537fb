"""What moves occupations, with modes carried over from "a person": six of them, one development seed, 64 images each.

The configuration of `experiments.occupations` is chosen here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments.occupations import EXTREME, LOOKED_AT, ROW, STAGES, below, mean_row
from experiments.pooled import run_rows
from experiments.variants import EARLIER, NO_TRIALS, SHARP, SOFT, STRONG, run_variants

SEEDS = (101,)
COMMON = [
    "prompts=emoji_occupations", "bank=carried", "vocabulary=none",
    f"prompts.subjects=[{', '.join(f'a {name}' for name in LOOKED_AT)}]",
    "prompts.attributes=[gender, tone, occupation]", "collect.n_images=128",
    "generate.n_images=64", STAGES,
]  # fmt: skip
OWN_SCALE = [*EARLIER, "collect.n_images=128"]
VARIANTS = {
    "self_debias": ["guidance=self_debias", *OWN_SCALE],
    "self_debias, from the first step on": ["guidance=self_debias", *OWN_SCALE, "schedule.start=0"],
    "self_debias, temperature 0.1": ["guidance=self_debias", *OWN_SCALE, "guidance.temperature=0.1"],
    "mean_difference": ["guidance=mean_difference", *OWN_SCALE],
    "transport, from the first step on": [*OWN_SCALE, *SOFT, STRONG, *NO_TRIALS],
    "transport, from the first step on, fitted at guidance scale 1.5": [*SOFT, SHARP, STRONG, *NO_TRIALS],
    "the same, two and a half times as many tried as have to turn, until 70% of the steps": [*SOFT, SHARP, STRONG],
    "the same, projector noise 1": [*SOFT, "projector.noise=1.0", STRONG],
    "the same, projector noise 2": [*SOFT, STRONG],
    "the same, strength 6": SOFT,
    "the same, temperature 0.1: the default": [],
    "the same, from 4% of the steps on": ["schedule.start=0.04"],
    "the same, from 8% on": ["schedule.start=0.08"],
    "the same, from 12% on, strength 8": ["schedule.start=0.12", "guidance.strength=8"],
    "self_debias, as the default but for that": ["guidance=self_debias"],
    "mean_difference 12, limit 4, as the default but for that": [
        "guidance=mean_difference", "guidance.strength=12", "guidance.limit=4",
    ],
}  # fmt: skip


def main(arguments: Sequence[str], seeds: Sequence[int] = SEEDS) -> None:
    """Run the variants, and write one table, anew after each of them.

    Args:
        arguments: overrides of the command line; words without ``=`` choose the variants whose names hold one of them.
        seeds: generate seeds.
    """
    overrides = [text for text in arguments if "=" in text]
    words = [text for text in arguments if "=" not in text] or [""]
    variants = {name: [*COMMON, *variant, *overrides] for name, variant in VARIANTS.items()}
    asked = [name for name in VARIANTS if any(word in name for word in words)]
    run_variants("occupation_levers", variants, asked, dict.fromkeys(VARIANTS, seeds), page, run_rows)


def page(every: dict[str, dict]) -> str:
    """Write the table.

    Args:
        every: pooled results by variant.
    """
    lines = []
    for name, results in every.items():
        usual = [row for row in results["rows"] if row not in EXTREME]
        lines += [mean_row(f"{name}: the {len(usual)}", results["rows"], usual)]
        lines += [mean_row(f"{name}: doctor", results["rows"], ["doctor"])]
    head = f"# Levers of occupations, development seed {', '.join(map(str, SEEDS))}"
    command = f"`python -m experiments.occupation_levers`: {len(every)} of its {len(VARIANTS)} variants."
    return "\n".join([head, "", command, "", ROW, *lines, "", below(next(iter(every.values())))])


if __name__ == "__main__":
    main(sys.argv[1:])
