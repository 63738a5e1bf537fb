"""A model without prompts, by what the encoder was told: `model=emoji_ddpm`, vanilla, guided, random, and the paper's method."""

from __future__ import annotations

import sys

from experiments.person_axes import HEADER, HONEST, TOLD, line
from experiments.variants import Every, Study

MODEL, RANDOM = "model=emoji_ddpm", "guidance=random"
# The model has a sampler of its own, which takes 50 calls for 50 steps.
TUNED = (
    "experiment=paper_tuned",
    "model.scheduler.name=DDIMScheduler",
    "~model.scheduler.options",
    "collect.timesteps=50",
)
VARIANTS = {
    "captions, axes": [MODEL, *HONEST, "clustering=axes", RANDOM, "guidance.of.slack=1.5"],
    "attributes, partition": [MODEL, *TOLD, "clustering=spectral", RANDOM],
    "captions, `paper_tuned`": [MODEL, *HONEST, *TUNED],
    "attributes, `paper_tuned`": [MODEL, *TOLD, *TUNED],
}


def rows(every: Every) -> list[str]:
    """The vanilla images of both samplers, and a row for each guided or random arm below its own."""
    arms = {"guided": "guided", "random": "edits as large, in random directions"}
    tuned = {name: it for name, it in every.items() if "tuned" in name}
    own = {name: it for name, it in every.items() if name not in tuned}
    lines = []
    for title, some in (("vanilla", own), ("vanilla, in the preset's 50 steps", tuned)):
        lines += [line(title, it, "vanilla") for it in [*some.values()][:1]]
        lines += [
            line(f"{n}: {words}", it, arm) for n, it in some.items() for arm, words in arms.items() if arm in it["arms"]
        ]
    return lines


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
