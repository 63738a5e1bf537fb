"""The transformer of Emoji World, all arms on the same seeds, paired differences: "an emoji of a person", `model=emoji_dit`.

    python -m experiments.person_dit [WORD ...]

Words choose the parts whose names hold one of them, all without a word. Settings were chosen on development
seeds 301 and 302 (`dit_levers`, `dit_slack`, `dit_axes`), and are the defaults of `model=emoji_dit`. Two defaults came
before them, and nothing was chosen on the seeds that they were reported on. The values of a UNet after block 5, 2.5 times as
many images tried, on seeds 851 to 855 (commit 46c95a4): 0.569 men and 0.936 kept. And as many images as must switch, each pushed
twice as hard, on seeds 856 to 860: the parts "after block 5". With captions, axes were first looked for with the numbers of
factors that the UNet has, and pushed as hard as a partition: the part "captions, axes of 4 to 6 factors".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.person_axes import HONEST, TOLD
from experiments.person_choosing import TITLES, head, part, run_parts

NAME, SEEDS, BEFORE_SEEDS = "person_dit", (861, 862, 863, 864, 865), (856, 857, 858, 859, 860)
LATER_SEEDS = (866, 867, 868, 869, 870)
COMMON = ["model=emoji_dit", "stages=[collect,discover,project,generate,evaluate]"]
PARTITION = [*COMMON, *TOLD, "clustering=spectral"]
FEWER = [*COMMON, *HONEST, "clustering=axes"]  # factors
AXES = [*COMMON, *HONEST, "clustering=axes_many"]
# The default before: found on the same development seeds, and worse on them than the one after block 3.
BLOCK_5, BEFORE = ["model.blocks=[5]"], ["strength=12", "slack=1"]
OF_BEFORE, STEERED_BEFORE = ([f"guidance.{place}.{it}" for it in BEFORE] for place in ("of", "steer"))
READERS = {
    "edits relative to the activation as it is": ["projector.relative_to=activation"],
    "a convolutional reader of all places": ["projector.reader=convolutional", "projector.resolution=8"],
    "a reader of the mean of all places": ["projector.reader=pooled"],
}
CHOOSING = {
    "select": ["guidance=select"],
    "select, then transport": ["guidance=select_then_transport"],
    "resample": ["guidance=resample"],
    "transport, then resample": ["guidance=transport_then_resample"],
}
SETTINGS = {
    "captions, axes: transport": {"default": [*AXES, "guidance=random"]},
    "captions, axes: other arms": {
        "default": [*AXES, "guidance=attribute_prompts"],
        **{name: [*AXES, *own] for name, own in CHOOSING.items()},
        "self_debias": [*AXES, "guidance=self_debias"],
        "mean_difference": [*AXES, "guidance=mean_difference"],
        "mean difference under transport's gate": [*AXES, "guidance=mean_transport"],
    },
    "captions, axes of 4 to 6 factors: transport": {"default": [*FEWER, "guidance=random", "guidance.of.strength=8"]},
    "attributes, partition: transport": {"default": [*PARTITION, "guidance=random"]},
    "attributes, partition: other arms": {
        "default": [*PARTITION, "guidance=attribute_prompts"],
        **{name: [*PARTITION, "guidance=transport", *own] for name, own in READERS.items()},
        "self_debias": [*PARTITION, "guidance=self_debias"],
        "mean_difference": [*PARTITION, "guidance=mean_difference"],
        "mean difference under transport's gate": [
            *PARTITION,
            "guidance=mean_transport",
            "guidance.strength=6",
            "guidance.slack=2.5",
        ],
        **{name: [*PARTITION, *own] for name, own in CHOOSING.items()},
        "told the attribute: the judge's classes in place of modes": [
            *PARTITION,
            "guidance=transport",
            "bank=supervised",
        ],
    },
    "captions, axes: after block 5": {"default": [*FEWER, *BLOCK_5, "guidance=random", *OF_BEFORE]},
    "attributes, partition: after block 5": {
        "default": [*PARTITION, *BLOCK_5, "guidance=random", *OF_BEFORE],
        "self_debias": [*PARTITION, *BLOCK_5, "guidance=self_debias"],
        **{
            name: [*PARTITION, *BLOCK_5, *own, *(STEERED_BEFORE if "transport" in name else [])]
            for name, own in CHOOSING.items()
        },
    },
    "after block 5, told the attribute: prompts that state it": {
        "default": [*PARTITION, *BLOCK_5, "guidance=attribute_prompts", *OF_BEFORE]
    },
}
SEEDS_OF = {
    name: BEFORE_SEEDS if "after block 5" in name else LATER_SEEDS if "captions, axes:" in name else SEEDS
    for name in SETTINGS
}
COLUMNS = (
    "n", "men", "gender", "less_vanilla", "less_default", "from_target", "tone", "switched", "switched_precision", "precision",
    "kept", "edited", "rows",
)  # fmt: skip


def page(every: Mapping[str, Mapping[str, Any]]) -> str:
    """A table for each part, and which differences are told apart."""
    then = {**TITLES, "guided": "transport, the previous default"}
    earlier = ("after block 5", "of 4 to 6 factors")
    parts = [
        line
        for name, it in every.items()
        for line in part(
            name, it, SEEDS_OF[name], COLUMNS, SETTINGS, then if any(e in name for e in earlier) else TITLES
        )
    ]
    return "\n".join([*head("The transformer of Emoji World, all arms", NAME, every), *parts])


def main(words: Sequence[str]) -> None:
    """Measure the parts that are asked for, keep the other parts' numbers, and write the tables."""
    run_parts(NAME, SETTINGS, SEEDS_OF, page, words)


if __name__ == "__main__":
    main(sys.argv[1:])
