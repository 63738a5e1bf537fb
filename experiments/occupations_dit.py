"""The 20 occupations on the transformer of Emoji World, `model=emoji_dit`: modes found on "a person", transferred to each.

    python -m experiments.occupations_dit [WORD ...]

Words choose the variants whose names hold one of them, all without a word. Settings are those of "a person" (`person_dit`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments import occupations_axes
from experiments.occupations_axes import FEWER, HONEST, TOLD, tables
from experiments.pooled import run_rows
from experiments.variants import Every, run_variants

NAME, SEEDS = "occupations_dit", (1011, 1012, 1013)
COMMON = [*occupations_axes.COMMON, "model=emoji_dit", "bank=carried"]
VARIANTS = {
    "captions, axes": [*COMMON, HONEST, "clustering=axes", "collect.n_images=256"],  # axes need as many
    "attributes, partition": [*COMMON, TOLD, "clustering=spectral", FEWER],
}


def page(every: Every) -> str:
    """Write a table of means, and one with each occupation for each variant.

    Args:
        every: results of `run_rows` by variant.
    """
    seeds = ", ".join(map(str, SEEDS))
    counted = f"`python -m experiments.{NAME}`, generate seeds {seeds}: {len(every)} of its {len(VARIANTS)} variants."
    return tables(every, "Occupations on a transformer", counted, "N = 64 for each occupation, arm and seed.")


def main(arguments: Sequence[str]) -> None:
    """Run the variants whose names hold one of the words, all without a word; keep what is measured of the others."""
    asked = [name for name in VARIANTS if any(word in name for word in arguments or [""])]
    run_variants(NAME, VARIANTS, asked, dict.fromkeys(VARIANTS, SEEDS), page, run_rows)


if __name__ == "__main__":
    main(sys.argv[1:])
