"""The headline arms on the 20 occupations, on three fits each: other collected images, projector's weights and halves.

    python -m experiments.occupation_fits [WORD ...]

Words choose the arms and fits whose names hold one of them, all without a word. Settings are those of
`experiments.occupations_choosing`, whose fit is the first of the three; the seed is one of its own. `person_fits` asks the same of
"a person".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.occupations_choosing import AXES, HEAD, KEPT, PARTITION, line, measure
from experiments.person_axes import fitted
from experiments.person_choosing import refuse_unknown
from experiments.pooled import INTERVALS, picked, read_results, write_study
from selfdebias.report.explanations import judge_in_words

NAME, SEED, FITS = "occupation_fits", 1036, (0, 1, 2)
ARMS = {
    "captions, axes: transport": [*AXES, "guidance=transport"],
    "attributes, partition: transport, then resample": [*PARTITION, "guidance=transport_then_resample"],
}
SETTINGS = {f"{arm}, fit {fit}": {"default": [*own, *fitted(fit)]} for arm, own in ARMS.items() for fit in FITS}


def page(every: Mapping[str, Mapping[str, Any]]) -> str:
    """One table: the vanilla images that all fits share, and each arm of each fit."""
    first = next(iter(every.values()))
    one = next(iter(first["rows"].values()))
    judge, images = judge_in_words(one), one["arms"]["vanilla"]["gender"]["fd_hard"]["n"]
    table = [HEAD, line("vanilla", first), *(line("guided", results, name) for name, results in every.items())]
    text = [
        f"# The headline arms on three fits each, 20 occupations, generate seed {SEED}",
        "",
        f"`python -m experiments.{NAME}`. {judge[:1].upper()}{judge[1:]} {INTERVALS} N = {images} for each occupation and arm. "
        "Columns as in `occupations_choosing`, whose differences from the default are left out here.",
        "",
        *(without_default(row) for row in "\n".join(table).splitlines()),
    ]
    if found := [f"{name}: {results['modes_found']}" for name, results in every.items() if "modes_found" in results]:
        text += ["", f'Modes that a fit found among the images of "a person": {"; ".join(found)}.']
    return "\n".join(text)


def without_default(row: str) -> str:
    """A row of the table without the two columns that hold an arm against the default, which is the only arm here."""
    cells = row.split("|")
    return "|".join([*cells[:4], *cells[6:]])


def main(words: Sequence[str]) -> None:
    """Measure the fits that are asked for, keep the numbers of the others, and write the table anew after each of them."""
    refuse_unknown(words, [*SETTINGS], "an arm or a fit")
    for name, arms in SETTINGS.items():
        if not words or any(word in name for word in words):
            found = measure(arms, (SEED,))
            modes = {row["modes"]["k"] for row in found["rows"].values() if "axes" not in row["modes"]}
            told = {"modes_found": max(modes)} if modes else {}  # transferred to all rows alike
            every = {**read_results(NAME), name: {**found, **told, "rows": picked(found["rows"], KEPT)}}
            every = {name: every[name] for name in SETTINGS if name in every}
            write_study(NAME, page(every), every)


if __name__ == "__main__":
    main(sys.argv[1:])
