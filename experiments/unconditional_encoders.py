"""A model without prompts, by what the encoder was told: `model=emoji_ddpm`, vanilla, guided and the random control."""

from __future__ import annotations

import sys

from experiments.person_axes import HEADER, HONEST, TOLD, line
from experiments.variants import Every, Study

MODEL, RANDOM = "model=emoji_ddpm", "guidance=random"
VARIANTS = {
    "captions, axes": [MODEL, *HONEST, "clustering=axes", RANDOM, "guidance.of.slack=1.5"],
    "attributes, partition": [MODEL, *TOLD, "clustering=spectral", RANDOM],
}


def rows(every: Every) -> list[str]:
    """The vanilla images, and two rows for each variant."""
    vanilla = line("vanilla", next(iter(every.values())), "vanilla")
    arms = {"guided": "transport", "random": "edits as large, in random directions"}
    return [
        vanilla,
        *(line(f"{name}: {words}", results, arm) for name, results in every.items() for arm, words in arms.items()),
    ]


STUDY = Study(
    name="unconditional_encoders",
    title="An unconditional model, by what the encoder was told",
    seeds=(731, 732),
    variants=VARIANTS,
    header=HEADER,
    rows=rows,
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
