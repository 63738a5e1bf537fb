"""Transport on "an emoji of a person", on development seeds: how many images are tried, and what they are fitted on.

The default configuration is chosen here, on seeds that no result uses.
"""

from __future__ import annotations

import sys

from experiments.variants import EARLIER, NO_TRIALS, Study

KL, SMALL = "guidance=self_debias", "collect.n_images=256"
OWN_SCALE = "collect.relative_scale=1"
VARIANTS = {
    "default": [],
    "as many tried as have to turn (slack 1)": NO_TRIALS,
    "slack 2, until half of the steps": ["guidance.slack=2", "guidance.freeze=0.5"],
    "fitted on 256 images": [SMALL],
    "fitted on 256 images of the arms' own guidance scale": [SMALL, OWN_SCALE],
    "fitted on 512 images of the arms' own guidance scale": [OWN_SCALE],
    "the same, from 12% of the steps on": [OWN_SCALE, "schedule.start=0.12"],
    "self_debias": [KL],
    "self_debias, from 12% of the steps on, fitted on 256 images of the arms' own guidance scale": [KL, *EARLIER],
    "mean_difference": ["guidance=mean_difference"],
    "mean_difference, from 12% of the steps on, fitted on 256 images of the arms' own guidance scale": [
        "guidance=mean_difference",
        *EARLIER,
    ],
}
STUDY = Study("transport_levers", 'What transport needs, "an emoji of a person"', (301, 302), VARIANTS)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
