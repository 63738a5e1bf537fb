"""What each point costs in which the official code differs from ours, on seeds that no choice was made on."""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, who_judged, write_study

SEEDS = (201, 202, 203)
OURS = "batch KL, as by default"
KL = "guidance=self_debias"  # the official code's method, with our choices: what each row changes in one point
VARIANTS = {
    OURS: [KL],
    "both branches alike": [KL, "guidance.branch=both"],
    "both, split as 0::2 and 1::2": ["guidance=interleaved"],
    "positives only": [KL, "projector.negatives=false"],
    "temperature 8": [KL, "guidance.temperature=8"],
    "three inner steps": [KL, "guidance.inner_steps=3"],
    "clustering at each timestep": [KL, "clustering.space=projected", "projector.balanced=false"],
    "`experiment=paper`": ["experiment=paper"],
    "`experiment=official`": ["experiment=official"],
}
PRESET = "`experiment=official`"  # its vanilla images are drawn with another sampler than those of the other rows


def main(overrides: list[str], seeds: tuple[int, ...] = SEEDS) -> None:
    """Run every variant over the seeds, and write one table."""
    every = {name: run_pooled([*overrides, *variant], seeds) for name, variant in VARIANTS.items()}
    rows = [
        row("vanilla", every[OURS], "vanilla"),
        *(row(name, results, "guided") for name, results in every.items()),
        row("vanilla, with the sampler of the presets", every[PRESET], "vanilla"),
    ]
    shown = ", ".join(map(str, seeds))
    text = [
        f'# What the official code does otherwise, "an emoji of a person", on seeds {shown}', "",
        "`python -m experiments.official_gap`; each row changes batch KL in one point, the presets in all of theirs.", "",
        HEADER, *rows, "", who_judged(next(iter(every.values()))), "",
        *(f"- {name}: gender `fd_hard` {compared(every, name)}." for name in VARIANTS if name != OURS),
    ]  # fmt: skip
    write_study("official_gap", "\n".join(text), every)


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


if __name__ == "__main__":
    main(sys.argv[1:])
