"""Transport against the gradient of the batch, and each one's options, on development seeds.

What was the default then was chosen here, on seeds that no result uses.
"""

from __future__ import annotations

import sys

from experiments.variants import EARLIER, NO_TRIALS, SOFT, Study

TRANSPORT = ["guidance=transport", *SOFT, *EARLIER, *NO_TRIALS]
KL = ["guidance=self_debias", *EARLIER]
VARIANTS = {
    "self_debias, the default of then": KL,
    "transport 12": [*TRANSPORT, "guidance.strength=12"],
    "transport 24, limit 4": [*TRANSPORT, "guidance.strength=24", "guidance.limit=4"],
    "transport 6": [*TRANSPORT, "guidance.strength=6"],
    "transport 12, from the first step on": [*TRANSPORT, "guidance.strength=12", "schedule.start=0"],
    "transport 12, conditional branch alone": [*TRANSPORT, "guidance.strength=12", "guidance.branch=cond"],
    "transport 12, calibrated temperature": [*TRANSPORT, "guidance.strength=12", "guidance.temperature=calibrated"],
    "transport 12, weight falling along a cosine": [*TRANSPORT, "guidance.strength=12", "schedule=cosine"],
    "self_debias, three inner steps": [*KL, "guidance.inner_steps=3"],
    "self_debias, calibrated temperature": [*KL, "guidance.temperature=calibrated"],
    "mean_difference": ["guidance=mean_difference", *EARLIER],
}
STUDY = Study("transport", 'Transport and its rivals, "an emoji of a person"', (101, 102), VARIANTS)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
