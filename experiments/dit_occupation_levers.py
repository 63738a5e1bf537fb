"""What helps occupations on a transformer, on a development seed: the 20 occupations, informed encoder, no label is read.

    python -m experiments.dit_occupation_levers [WORD ...]

Words choose the variants whose names hold one of them, all without a word.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from experiments.occupations_dit import PARTITION, measure
from experiments.pooled import interval
from experiments.variants import Every, run_variants

NAME, SEED = "dit_occupation_levers", 301
VARIANTS = {
    "as on a person: projector trained for 600 steps": PARTITION,
    "transport's own slack and strength": [*PARTITION, "guidance=transport"],
    "projector trained for 2,400 steps": [*PARTITION, "projector.steps=2400"],
    "projector trained for 6,000 steps": [*PARTITION, "projector.steps=6000"],
}
HEAD = (
    "| Variant | held-out images whose mode is told | error of the told share, mean of prompts | modes: distance from the target, "
    "vanilla | guided | the worst prompt, guided | `kept_cosine` |\n|" + "---|" * 7
)


def line(name: str, results: Mapping[str, Any]) -> str:
    """The row of a variant."""
    rows = list(results["rows"].values())
    vanilla, guided = ([it["arms"][arm]["mode_fd"]["value"] for it in rows] for arm in ("vanilla", "guided"))
    off = [abs(it["told"][0] - it["arms"]["vanilla"]["mode_shares"]["0"]["value"]) for it in rows]
    numbers = [results["accuracy"], mean(off), mean(vanilla), mean(guided), max(guided)]
    kept = interval(results["over_prompts"]["guided"]["kept_cosine"])
    return f"| {name} | {' | '.join(f'{number:.3f}' for number in numbers)} | {kept} |"


def page(every: Every) -> str:
    """A table with a row for each variant.

    Args:
        every: results of `measure` by variant.
    """
    counted = f"`python -m experiments.{NAME}`, generate seed {SEED}: {len(every)} of its {len(VARIANTS)} variants."
    text = [
        "# Occupations on a transformer: what helps, on a development seed",
        "",
        f"{counted} Informed encoder, a partition transferred from a person, 20 occupations, N = 64 for each; no label is read. "
        "Told share: that of mode 0 by the projector at the first guided step, beside that of vanilla images by the encoder.",
        "",
        HEAD,
        *(line(name, every[name]) for name in VARIANTS if name in every),
    ]
    return "\n".join(text)


def main(arguments: Sequence[str]) -> None:
    """Run the variants whose names hold one of the words, all without a word; keep what is measured of the others."""
    asked = [name for name in VARIANTS if any(word in name for word in arguments or [""])]
    run_variants(NAME, VARIANTS, asked, dict.fromkeys(VARIANTS, (SEED,)), page, measure)


if __name__ == "__main__":
    main(sys.argv[1:])
