"""The 20 occupations with an encoder that was told captions alone: axes found on "a person", carried over, all balanced at once.

One fresh seed, 64 images of each occupation and arm. Settings are those of "a person"; nothing was chosen on occupations.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments.occupations import EXTREME, ROW, mean_row, occupation_row
from experiments.pooled import INTERVALS, run_rows, write_study
from selfdebias.report.explanations import judge_in_words

NAME, SEEDS = "occupations_axes", (721,)
OVERRIDES = [
    "prompts=emoji_occupations", "prompts.attributes=[gender, tone, occupation]", "encoder=emoji_clip", "clustering=axes",
    "bank=carried", "collect.n_images=256", "generate.n_images=64",
    "evaluate.reference_images=32",  # no distance to a reference is reported
    "stages=[collect,discover,project,generate,evaluate]",
]  # fmt: skip


def page(results: dict) -> str:
    """Write the table.

    Args:
        results: of `run_rows`.
    """
    rows = {row: results["rows"][row] for row in results["row_names"]}
    usual = [row for row in rows if row not in EXTREME]
    lines = [occupation_row(row, rows[row]) for row in usual]
    lines += [mean_row(f"mean of the {len(usual)}", rows, usual)]
    lines += [occupation_row(row, rows[row]) for row in EXTREME]
    lines += [mean_row(f"mean of the {len(EXTREME)}", rows, EXTREME)]
    first = next(iter(rows.values()))
    judge = judge_in_words(first)
    text = [
        "# Occupations, axes found with an encoder that was told captions alone", "",
        f"`python -m experiments.{NAME}`, generate seed {SEEDS[0]}. Config hashes: {', '.join(results['config_hashes'])}.", "",
        ROW, *lines, "",
        f"N = 64 for each occupation and arm. {judge[:1].upper()}{judge[1:]} {INTERVALS} "
        f"Axes: {axes_in_words(first)}.",
    ]  # fmt: skip
    return "\n".join(text)


def axes_in_words(results: dict) -> str:
    """Say what the axes are, by how they go with what the judge sees among one occupation's collected images."""
    words = []
    for a, axis in enumerate(results["modes"]["axes"]):
        best = max(axis["auc"], key=lambda name: axis["auc"][name] if isinstance(axis["auc"][name], float) else 0)
        words.append(f"axis {a} goes best with {best} (AUC {axis['auc'][best]:.2f})")
    return ", ".join(words)


def main(arguments: Sequence[str]) -> None:
    """Run the jobs and write the page."""
    results = run_rows([*OVERRIDES, *arguments], SEEDS)
    write_study(NAME, page(results), results)


if __name__ == "__main__":
    main(sys.argv[1:])
