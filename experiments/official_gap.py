"""What each point of the official code costs or gives, and what our own parts add, one at a time from the paper's method."""

from __future__ import annotations

import sys

from experiments.variants import Study, vanilla_and_guided

BASE = "`experiment=paper_tuned`"
PAPER = ["experiment=paper_tuned"]
ONE_STAGE = ["clustering=spectral", "~clustering.min_size"]  # which has no second stage
# Modes among the encoder's embeddings, by the default's clustering.
IMAGES = [*ONE_STAGE, "clustering.n_neighbors=[10,30]", "clustering.space=image"]
OURS = [*IMAGES, "guidance=transport", "~guidance.eta", "~guidance.inner_steps"]  # which transport has not
VARIANTS = {
    BASE: PAPER,
    "official: t < 850": [*PAPER, "schedule.start=0.15"],
    "official: branches split as 0::2 and 1::2": [*PAPER, "guidance=interleaved"],
    "official: three inner steps": [*PAPER, "guidance.inner_steps=3"],
    "official: no limit": [*PAPER, "guidance.limit=null"],
    "official: k = 2 given, in place of two stages": [*PAPER, *ONE_STAGE, "clustering.k=2"],
    "`experiment=official`": ["experiment=official"],
    "`experiment=paper`": ["experiment=paper"],
    "one gradient on both branches": [*PAPER, "guidance.branch=both"],
    "the conditional branch alone": [*PAPER, "guidance.branch=cond"],
    "8 of 51 steps": [*PAPER, "collect.timesteps=8", "projector.steps=1280"],
    "negatives in the projector's loss": [*PAPER, "projector.negatives=true"],
    "ours: noise of 2 on the activations": [*PAPER, "projector.standardised=true", "projector.noise=2"],
    "ours: timestep and branch in place of the step": [*PAPER, "projector.time=sinusoidal"],
    "ours: modes among the encoder's embeddings": [*PAPER, *IMAGES],
    "ours: and batches balanced over them": [*PAPER, *IMAGES, "projector.balanced=true"],
    "ours: transport in place of the gradient": [*PAPER, *OURS],
    "ours: transport without trials": [*PAPER, *OURS, "guidance.slack=1", "guidance.freeze=0.3"],
}


def compared(every: dict[str, dict], name: str) -> str:
    """Say whether a variant's interval is apart from that of the paper's method.

    Example:
        >>> def arm(low, high):
        ...     return {"arms": {"guided": {"gender": {"fd_hard": {"low": low, "high": high}}}}}
        >>> every = {BASE: arm(0.0, 0.1), "a": arm(0.2, 0.3), "b": arm(0.05, 0.3)}
        >>> compared(every, "a"), compared(every, "b")
        ('higher', 'not told apart')
    """
    own, base = (every[key]["arms"]["guided"]["gender"]["fd_hard"] for key in (name, BASE))
    if own["low"] > base["high"]:
        return "higher"
    return "lower" if own["high"] < base["low"] else "not told apart"


STUDY = Study(
    name="official_gap",
    title='From the paper\'s method, one point at a time, "an emoji of a person"',
    seeds=(611, 612),  # that no choice was made on
    variants=VARIANTS,
    common=["generate.n_images=96"],
    rows=vanilla_and_guided,
    notes=lambda every: [
        f"- {name}: gender `fd_hard` {compared(every, name)}." for name in every if BASE in every and name != BASE
    ],
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
