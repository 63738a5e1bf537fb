"""Other shares than equal ones: nine of ten images of the larger mode, one of four, "an emoji of a person", five seeds."""

from __future__ import annotations

import sys

from experiments.variants import Every, Study

TARGETS = {"90 : 10": (0.9, 0.1), "25 : 75": (0.25, 0.75)}  # of the larger mode, of the smaller one


def off(every: Every) -> list[str]:
    """How far the shares of the larger mode, and of the judge's class that agrees with it, are from what was asked for."""
    lines = []
    for name, results in every.items():
        guided, wanted = results["arms"]["guided"], TARGETS[name][0]
        mode, men = guided["mode_shares"]["0"]["value"], guided["shares"]["gender"]["man"]["value"]
        lines += [
            f"- {name}: asked for {wanted:.2f} of the larger mode; it has {mode:.3f}, {abs(mode - wanted):.3f} off; "
            f"men {men:.3f}, {abs(men - wanted):.3f} off."
        ]
    return lines


VARIANTS = {name: ["clustering.k=2", f"guidance.target={list(shares)}"] for name, shares in TARGETS.items()}

STUDY = Study(
    name="person_targets",
    title='"an emoji of a person", other shares',
    seeds=(501, 502, 503, 504, 505),
    variants=VARIANTS,
    notes=off,
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
