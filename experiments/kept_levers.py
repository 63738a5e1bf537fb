"""What keeps unswitched images as they are: in small batches, with two stages of modes, and where most images must switch.

Transport's temperature was chosen here, on development seeds.
"""

from __future__ import annotations

import sys

from experiments.pooled import interval
from experiments.variants import SOFT, Every, Study

LOOP = "guidance.closed_loop=true"
HOW = {
    "temperature 0.3, the default before": SOFT,
    "temperature 0.1, the default": [],
    "0.1, from 4% of the steps on": ["schedule.start=0.04"],
    "0.1, from 8% on": ["schedule.start=0.08"],
    "0.1, from 12% on": ["schedule.start=0.12"],
    "0.1, from 12% on, strength 8": ["schedule.start=0.12", "guidance.strength=8"],
}
WHERE = {
    "batches of 32": [],
    "of 4, closed loop": ["generate.batch_size=4", LOOP],
    "of 1, closed loop": ["generate.batch_size=1", LOOP],
    "two stages": ["clustering=two_stage", "clustering.k=2", "clustering.max_depth=1", "guidance.target=uniform"],
    "25 : 75": ["clustering.k=2", "guidance.target=[0.25,0.75]"],
}
VARIANTS = {f"{how}; {where}": [*own, *asked] for how, own in HOW.items() for where, asked in WHERE.items()}
HEADER = (
    "| Transport | gender `fd_hard` | "
    + " | ".join(f"`kept_cosine`, {where}" for where in WHERE)
    + " | shares of the four modes | men, 25 : 75 asked for |\n|"
    + "---|" * 9
)


def rows(every: Every) -> list[str]:
    """One row for each way that is measured everywhere."""
    found = {how: {where: every.get(f"{how}; {where}") for where in WHERE} for how in HOW}
    return [_row(how, own) for how, own in found.items() if all(own.values())]


def _row(how: str, results: dict) -> str:
    guided = {where: it["arms"]["guided"] for where, it in results.items()}
    shares = guided["two stages"]["mode_shares"]
    cells = [
        how, interval(guided["batches of 32"]["gender"]["fd_hard"]),
        *(f"{it['kept_cosine']['value']:.3f}" for it in guided.values()),
        " / ".join(f"{shares[key]['value']:.3f}" for key in sorted(shares, key=int)),
        interval(guided["25 : 75"]["shares"]["gender"]["man"]),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


STUDY = Study(
    name="kept_levers",
    title='What keeps the other images, "an emoji of a person"',
    seeds=(301, 302),
    variants=VARIANTS,
    rows=rows,
    header=HEADER,
    notes=lambda every: [
        "Cosines have no interval here: with a closed loop all images of a run depend on each other, and two runs tell too little."
    ],
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
