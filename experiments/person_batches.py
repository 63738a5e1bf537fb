"""How many images have to be drawn together: batches of 32, 4 and 1, "an emoji of a person", five seeds."""

from __future__ import annotations

import sys

from experiments.variants import Study, both_arms

LOOP = "guidance.closed_loop=true"
LATER = "schedule.start=0.12"  # by `kept_levers`
VARIANTS = {
    "batches of 32": [],
    "batches of 4, closed loop": ["generate.batch_size=4", LOOP],
    "batches of 1, closed loop": ["generate.batch_size=1", LOOP],
    "batches of 32, closed loop": [LOOP],
    "batches of 4, closed loop, from 12% of the steps on": ["generate.batch_size=4", LOOP, LATER],
    "batches of 1, closed loop, from 12% of the steps on": ["generate.batch_size=1", LOOP, LATER],
    "batches of 1": ["generate.batch_size=1"],
}
STUDY = Study(
    name="person_batches",
    title='"an emoji of a person", images that are drawn together',
    seeds=(501, 502, 503, 504, 505),
    variants=VARIANTS,
    rows=both_arms,
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
