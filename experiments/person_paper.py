"""The paper's method beside ours: "an emoji of a person", five seeds that nothing was chosen on."""

from __future__ import annotations

import sys

from experiments.pooled import modes_in_words, row
from experiments.variants import Every, Study

TUNED = "`experiment=paper_tuned`"
VARIANTS = {
    "transport, the default": [],
    "`experiment=paper`": ["experiment=paper"],
    TUNED: ["experiment=paper_tuned"],
    "`experiment=official`": ["experiment=official"],
}


def rows(every: Every) -> list[str]:
    """The vanilla images of each sampler above the arms that are drawn with it."""
    lines = []
    for name, results in every.items():
        sampler = "" if not VARIANTS[name] else ", with the sampler of the presets"
        vanilla = row(f"vanilla{sampler}", results, "vanilla")
        lines += [*([vanilla] if vanilla not in lines else []), row(name, results, "guided")]
    return lines


STUDY = Study(
    name="person_paper",
    title='The paper\'s method beside ours, "an emoji of a person"',
    seeds=(601, 602, 603, 604, 605),
    variants=VARIANTS,
    rows=rows,
    notes=lambda every: [f"- {name}: {modes_in_words(results)}" for name, results in every.items()],
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
