"""Transport on "an emoji of a person", on development seeds: the projector, how many are tried, what they are fitted on.

The default configuration is chosen here, on seeds that no result uses, but for the temperature of today (`kept_levers`).
"""

from __future__ import annotations

import sys

from experiments.variants import NO_TRIALS, SHARP, SOFT, STRONG, Study

KL, MEANS = "guidance=self_debias", "guidance=mean_difference"
SMALL, OWN_SCALE = "collect.n_images=256", "collect.relative_scale=1"
FORMER = (SHARP, STRONG)
QUARTER = ("clustering.k=2", "guidance.target=[0.25,0.75]")  # most of the images have to turn
VARIANTS = {
    "default of then": [],
    "strength 12": [STRONG],
    "projector noise 1, strength 6": ["projector.noise=1.0"],
    "projector noise 0.3, strength 12": FORMER,
    "as many tried as have to turn (slack 1)": NO_TRIALS,
    "slack 2": ["guidance.slack=2.0"],
    "slack 3": ["guidance.slack=3.0"],
    "fitted on 256 images": [SMALL],
    "fitted on 512 images of the arms' own guidance scale": [OWN_SCALE],
    "from 12% of the steps on": ["schedule.start=0.12"],
    "self_debias": [KL],
    "mean_difference": [MEANS],
    "25 : 75, default of then": QUARTER,
    "25 : 75, strength 12": [*QUARTER, STRONG],
    "25 : 75, projector noise 1, strength 12": [*QUARTER, "projector.noise=1.0", STRONG],
    "25 : 75, projector noise 0.3, strength 12": [*QUARTER, *FORMER],
}
STUDY = Study("transport_levers", 'What transport needs, "an emoji of a person"', (301, 302), VARIANTS, SOFT)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
