"""A second drawing, so that images that do not turn stay as they were: `guidance=two_pass`, "an emoji of a person", five seeds."""

from __future__ import annotations

import sys

from experiments.person_batches import LOOP
from experiments.person_depth import DEPTH
from experiments.person_targets import TARGETS, off
from experiments.person_targets import VARIANTS as OTHER_SHARES
from experiments.pooled import mode_shares
from experiments.variants import Every, Study

TWO = "guidance=two_pass"
STAGES = "two stages of modes, four equal shares"
VARIANTS = {
    "batches of 32": [TWO],
    **{name: [TWO, *asked] for name, asked in OTHER_SHARES.items()},
    STAGES: [TWO, *DEPTH],
    "batches of 4, closed loop": [TWO, "generate.batch_size=4", LOOP],
    "batches of 1, closed loop": [TWO, "generate.batch_size=1", LOOP],
}


def notes(every: Every) -> list[str]:
    """How far other shares than equal ones are off, and what the four modes have."""
    lines = off({name: every[name] for name in TARGETS if name in every})
    if STAGES in every:
        lines += [f"- {STAGES}: {mode_shares(every[STAGES]['arms']['guided'])}."]
    return lines


STUDY = Study(
    name="person_two_pass",
    title='"an emoji of a person", two passes',
    seeds=(501, 502, 503, 504, 505),
    variants=VARIANTS,
    notes=notes,
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
