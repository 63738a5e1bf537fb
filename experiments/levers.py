"""What moves the shares: strength, branch, smoothness of the projector, window, temperature, memory, on development seeds.

What was the default of `guidance=self_debias` then was chosen here, on seeds that no result uses.
"""

from __future__ import annotations

import sys

from experiments.variants import EARLIER, Study

KL = ["guidance=self_debias", *EARLIER]
VARIANTS = {
    "the default of then": KL,
    "strength 3": [*KL, "guidance.strength=3"],
    "strength 6": [*KL, "guidance.strength=6"],
    "kappa 0.01": [*KL, "guidance.kappa=0.01"],
    "temperature 0.1": [*KL, "guidance.temperature=0.1"],
    "slack 1": [*KL, "guidance.slack=1"],
    "all images of a mode that has too many (slack 1000)": [*KL, "guidance.slack=1000"],
    "limit 1": [*KL, "guidance.limit=1"],
    "conditional branch alone": [*KL, "guidance.branch=cond"],
    "both branches alike": [*KL, "guidance.branch=both"],
    "from the first step on": [*KL, "schedule.start=0"],
    "up to 60% of the steps": [*KL, "schedule.stop=0.6"],
    "projector without noise": [*KL, "projector.noise=0"],
    "memory 0.9": [*KL, "guidance.decay=0.9"],
}


STUDY = Study("levers", 'Levers, "an emoji of a person"', (101, 102), VARIANTS)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
