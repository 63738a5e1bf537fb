"""All arms side by side: "an emoji of a person", five seeds that nothing was chosen on."""

from __future__ import annotations

import sys

from experiments.pooled import modes_in_words, row
from experiments.variants import EARLIER, NO_TRIALS, Every, Study
from selfdebias.report.explanations import verdicts_in_words

DEFAULT = "transport, the default"
TWICE = "two passes, at twice the time"
RANDOM, TOLD = "edits as large, in random directions", "told the attribute: prompts that state it"
BEFORE = "with the settings of before: from 12% of the steps on, noise 0.3, 256 images of the model's own scale"
VARIANTS = {
    DEFAULT: [],
    TWICE: ["guidance=two_pass"],
    RANDOM: ["guidance=random"],
    "transport that tries no more images than have to turn": NO_TRIALS,
    "self_debias": ["guidance=self_debias"],
    "mean_difference": ["guidance=mean_difference"],
    f"self_debias, {BEFORE}": ["guidance=self_debias", *EARLIER],
    f"mean_difference, {BEFORE}": ["guidance=mean_difference", *EARLIER],
    "told the attribute: the judge's classes in place of modes": ["bank=supervised"],
    TOLD: ["guidance=attribute_prompts"],
}
THIRD = {RANDOM: "random", TOLD: "attribute_prompts"}  # arms that stand beside a guided one in their jobs


def rows(every: Every) -> list[str]:
    """The vanilla images, and one row for each variant."""
    vanilla = row("vanilla", next(iter(every.values())), "vanilla")
    return [vanilla, *(row(name, results, THIRD.get(name, "guided")) for name, results in every.items())]


def notes(every: Every) -> list[str]:
    """The modes that the default found, and what is told apart from vanilla."""
    first = next(iter(every.values()))
    return [modes_in_words(first), "", *(f"- {line}" for line in verdicts_in_words(every.get(RANDOM, first)))]


STUDY = Study(
    name="person_arms",
    title='"an emoji of a person", all arms',
    seeds=(501, 502, 503, 504, 505),
    variants=VARIANTS,
    rows=rows,
    notes=notes,
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
