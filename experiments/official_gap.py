"""What each point costs in which the official code differs from ours, on seeds that no choice was made on."""

from __future__ import annotations

import sys

from experiments.pooled import row
from experiments.variants import EARLIER, Every, Study, vanilla_and_guided

OURS = "batch KL, the default of then"
KL = [
    "guidance=self_debias",
    *EARLIER,
]  # the official code's method, with our choices: what each row changes in one point
VARIANTS = {
    OURS: KL,
    "both branches alike": [*KL, "guidance.branch=both"],
    "both, split as 0::2 and 1::2": ["guidance=interleaved", *EARLIER],
    "positives only": [*KL, "projector.negatives=false"],
    "temperature 8": [*KL, "guidance.temperature=8"],
    "three inner steps": [*KL, "guidance.inner_steps=3"],
    "clustering at each timestep": [*KL, "clustering.space=projected", "projector.balanced=false"],
    "`experiment=paper`": ["experiment=paper"],
    "`experiment=official`": ["experiment=official"],
}
PRESET = "`experiment=official`"  # its vanilla images are drawn with another sampler than those of the other rows


def rows(every: Every) -> list[str]:
    """The rows of all variants, and the vanilla images of the presets, which another sampler draws."""
    own = [row("vanilla, with the sampler of the presets", every[PRESET], "vanilla")] if PRESET in every else []
    return [*vanilla_and_guided(every), *own]


def compared(every: dict[str, dict], name: str) -> str:
    """Say whether a variant's interval is apart from ours.

    Example:
        >>> def arm(low, high):
        ...     return {"arms": {"guided": {"gender": {"fd_hard": {"low": low, "high": high}}}}}
        >>> every = {OURS: arm(0.0, 0.1), "a": arm(0.2, 0.3), "b": arm(0.05, 0.3)}
        >>> compared(every, "a"), compared(every, "b")
        ('higher than ours', 'not told apart from ours')
    """
    own, ours = (every[key]["arms"]["guided"]["gender"]["fd_hard"] for key in (name, OURS))
    if own["low"] > ours["high"]:
        return "higher than ours"
    return "lower than ours" if own["high"] < ours["low"] else "not told apart from ours"


STUDY = Study(
    name="official_gap",
    title='What the official code does otherwise, "an emoji of a person"',
    seeds=(201, 202, 203),  # that no choice was made on
    variants=VARIANTS,
    rows=rows,
    notes=lambda every: [
        f"- {name}: gender `fd_hard` {compared(every, name)}." for name in every if OURS in every and name != OURS
    ],
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
