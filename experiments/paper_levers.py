"""What the paper leaves open, on development seeds: eta, limit, temperature, window, batch and inner steps of `paper_tuned`.

What stands in `experiment=paper`, `paper_tuned` and `official` was chosen here, on seeds that no result uses.
"""

from __future__ import annotations

import sys

from experiments.variants import Study

PAPER = ["experiment=paper"]
LIMITED = [*PAPER, "guidance.limit=2.0"]
VARIANTS = {
    "eta 2e4, limit 2": [*LIMITED, "guidance.eta=2e4"],
    "eta 1e5, limit 2": [*LIMITED, "guidance.eta=1e5"],
    "eta 3e4, limit 3": [*PAPER, "guidance.eta=3e4", "guidance.limit=3.0"],
    "eta 2e4, limit 4": [*PAPER, "guidance.eta=2e4", "guidance.limit=4.0"],
    "eta 2e4, limit 2, batches of 64": [*LIMITED, "guidance.eta=2e4", "generate.batch_size=64"],
    "eta 1e4, limit 3, three inner steps": [*PAPER, "guidance.eta=1e4", "guidance.limit=3.0", "guidance.inner_steps=3"],
    "temperature 8, eta 2e7, limit 2": [*LIMITED, "guidance.temperature=8", "guidance.eta=2e7"],
    "temperature 0.3, eta 1.5e5, limit 2": [*LIMITED, "guidance.temperature=0.3", "guidance.eta=1.5e5"],
    "eta 3e4, limit 2, from 12% of the steps on": [*LIMITED, "guidance.eta=3e4", "schedule.start=0.12"],
    "eta 3e3, no limit": PAPER,
    "eta 1e4, no limit": [*PAPER, "guidance.eta=1e4"],
    "official, eta 3e6": ["experiment=official", "guidance.eta=3e6"],
    "official, eta 5e6": ["experiment=official"],
    "official, eta 1e7": ["experiment=official", "guidance.eta=1e7"],
}


STUDY = Study(
    name="paper_levers",
    title='What the paper leaves open, "an emoji of a person"',
    seeds=(301, 302),
    variants=VARIANTS,
    common=["generate.n_images=64"],
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
