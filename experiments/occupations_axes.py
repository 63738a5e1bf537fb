"""The 20 occupations, by what the encoder was told: one fresh seed, 64 images of each occupation and arm.

With an encoder that was told captions alone, axes are found on "a person" and transferred, all balanced at once. Beside it edits
as large in random directions, the encoder that was told attributes with a partition transferred alike, and the tuned form of the
paper's method, which finds modes of each occupation. Settings are those of "a person"; nothing was chosen on this seed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments.occupations import EXTREME, ROW, mean_row, occupation_row
from experiments.pooled import INTERVALS, run_rows
from experiments.variants import Every, run_variants
from selfdebias.config.sources import read_option
from selfdebias.report.explanations import judge_in_words

NAME, SEEDS = "occupations_axes", (721,)
COMMON = [
    "prompts=emoji_occupations", "prompts.attributes=[gender, tone, occupation]", "generate.n_images=64",
    "evaluate.reference_images=32",  # no distance to a reference is reported
    "stages=[collect,discover,project,generate,evaluate]",
]  # fmt: skip
HONEST, TOLD = "encoder=emoji_clip", "encoder=emoji_clip_informed"
FEWER = "collect.n_images=128"  # of each prompt, as in `occupations`
AXES = [*COMMON, HONEST, "clustering=axes", "bank=carried", "collect.n_images=256"]  # axes need as many
SUBJECTS = {it.split(" ", 1)[1].replace(" ", "-"): it for it in read_option("prompts", "emoji_occupations")["subjects"]}
USUAL = [row for row in SUBJECTS if row not in EXTREME]
TUNED = ["experiment=paper_tuned", FEWER]
VARIANTS = {
    "captions, axes, carried": [*AXES, "guidance=random", "guidance.of.slack=1.5"],
    "attributes, partition, carried": [*COMMON, TOLD, "clustering=spectral", "bank=carried", FEWER],
    "captions, `paper_tuned`, own modes": [*COMMON, HONEST, *TUNED],
    "attributes, `paper_tuned`, own modes": [*COMMON, TOLD, *TUNED],
}
RANDOM = {"captions, axes, carried": "as large as those, in random directions"}
TITLE = "Occupations, by what the encoder was told"
OWN_SAMPLER = " `paper_tuned` has its own sampler, and so other vanilla images."


def page(every: Every) -> str:
    """Write a table of means, and one with each occupation for each variant.

    Args:
        every: results of `run_rows` by variant.
    """
    counted = f"generate seed {SEEDS[0]}: {len(every)} of its {len(VARIANTS)} variants."
    return tables(
        every, TITLE, f"`python -m experiments.{NAME}`, {counted}", "N = 64 for each occupation and arm.", OWN_SAMPLER
    )


def tables(every: Every, title: str, counted: str, images: str, after: str = "") -> str:
    """The text of a page: a table of means over occupations, and a section with a table of the occupations for each variant.

    Args:
        every: results of `run_rows` by variant.
        title: of the page.
        counted: the command, the seeds and the variants.
        images: how many there are.
        after: what is said at the end below the means.
    """
    groups = {f"the {len(USUAL)}": USUAL, f"the {len(EXTREME)} extreme ones": EXTREME}
    means = [
        mean_row(f"{words}: mean of {group}", results["rows"], chosen, arm)
        for group, chosen in groups.items()
        for name, results in every.items()
        for words, arm in [(name, "guided"), *([(RANDOM[name], "random")] if name in RANDOM else [])]
        if {*chosen} <= results["rows"].keys()
    ]
    first = next(iter(every.values()))
    judge = judge_in_words(next(iter(first["rows"].values())))
    text = [
        f"# {title}", "",
        counted, "",
        ROW, *means, "",
        f"{images} {judge[:1].upper()}{judge[1:]} {INTERVALS} Means give each occupation the same weight.{after}",
    ]  # fmt: skip
    for name, results in every.items():
        rows = {row: results["rows"][row] for row in results["row_names"]}
        lines = [occupation_row(row, rows[row]) for row in (*USUAL, *EXTREME) if row in rows]
        hashes = ", ".join(results["config_hashes"])
        text += [
            "",
            f"## {name[:1].upper()}{name[1:]}",
            "",
            f"Config hashes: {hashes}.{axes_in_words(rows)}",
            "",
            ROW,
            *lines,
        ]
    return "\n".join(text)


def axes_in_words(rows: dict) -> str:
    """Say what the axes are, if there are any, by how they go with what the judge sees among one occupation's collected images."""
    words = []
    for a, axis in enumerate(next(iter(rows.values()))["modes"].get("axes", [])):
        best = max(axis["auc"], key=lambda name: axis["auc"][name] if isinstance(axis["auc"][name], float) else 0)
        words.append(f"axis {a} goes best with {best} (AUC {axis['auc'][best]:.2f})")
    return f" Axes: {', '.join(words)}." if words else ""


def main(arguments: Sequence[str]) -> None:
    """Run the variants whose names hold one of the words, all without a word; keep what is measured of the others."""
    asked = [name for name in VARIANTS if any(word in name for word in arguments or [""])]
    run_variants(NAME, VARIANTS, asked, dict.fromkeys(VARIANTS, SEEDS), page, run_rows)


if __name__ == "__main__":
    main(sys.argv[1:])
