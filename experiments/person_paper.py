"""The paper's method beside ours: "an emoji of a person", five seeds that nothing was chosen on."""

from __future__ import annotations

import sys

from experiments.pooled import modes_in_words, quality_table, row
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
    lines, seen = [], set()
    for name, results in every.items():
        sampler = ", with the sampler of the presets" if VARIANTS[name] else ""
        if sampler not in seen:
            lines.append(row(f"vanilla{sampler}", results, "vanilla"))
        seen.add(sampler)
        lines.append(row(name, results, "guided"))
    return lines


def notes(every: Every) -> list[str]:
    """The modes of each arm, and its quality by features that guidance does not act in."""
    modes = [f"- {name}: {modes_in_words(results)}" for name, results in every.items()]
    return [*modes, "", *quality_table({name: (results, "guided") for name, results in every.items()})]


STUDY = Study(
    name="person_paper",
    title='The paper\'s method beside ours, "an emoji of a person"',
    seeds=(601, 602, 603, 604, 605),
    variants=VARIANTS,
    rows=rows,
    notes=notes,
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
