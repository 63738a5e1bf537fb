"""What helps occupations on a transformer, on a development seed: the 20 occupations, informed encoder, no label is read.

    python -m experiments.dit_occupation_levers [WORD ...]

Words choose the variants whose names hold one of them, all without a word.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from experiments.occupations_dit import APART, BEFORE, MIDDLE, NOW, PARTITION, measure, then_resample
from experiments.pooled import interval
from experiments.variants import Every, run_variants

NAME, SEED = "dit_occupation_levers", 301
OWN = (
    "guidance.strength=6",
    "guidance.slack=2.5",
)  # what transport has on a UNet: more images are tried, each pushed less
VARIANTS = {
    "as on a person: projector trained for 600 steps": [*PARTITION, *BEFORE],
    "the UNet's slack and strength": [*PARTITION, *OWN],
    "projector trained for 2,400 steps": [*PARTITION, *BEFORE, "projector.steps=2400"],
    "projector trained for 6,000 steps": [*PARTITION, *BEFORE, "projector.steps=6000"],
    "a threshold for each prompt": [*PARTITION, APART, *BEFORE],
    "a threshold for each prompt, and what did not arrive is made up for": [
        *PARTITION, APART, *BEFORE, "guidance.closed_loop=true",
    ],
    "a threshold for each prompt, from 12% of the steps": [*PARTITION, APART, *BEFORE, "schedule.start=0.12"],
    "transport, then resample": [*PARTITION, *then_resample(BEFORE)],
    "a threshold for each prompt; transport, then resample": [*PARTITION, APART, *then_resample(BEFORE)],
    "a threshold for each prompt; the UNet's slack and strength": [*PARTITION, APART, *OWN],
    "a threshold for each prompt; the UNet's values, then resample": [*PARTITION, APART, *then_resample(OWN)],
    "after block 3; a threshold for each prompt": [*MIDDLE, *BEFORE],
    "after block 3, strength 3.2, slack 1.5; a threshold for each prompt": [*MIDDLE, *NOW],
    "after block 3, strength 3.2, slack 1.5; a threshold for each prompt; transport, then resample": [
        *MIDDLE, *then_resample(NOW),
    ],
}  # fmt: skip
COLUMNS = (
    "Variant", "held-out images whose mode is told", "error of the told share, mean of prompts",
    "modes: distance from the target, vanilla", "guided", "the worst prompt, guided", "`kept_cosine`",
    "precision in pixels, vanilla", "guided", "rows",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def in_short(results: Mapping[str, Any]) -> dict[str, Any]:
    """Of what was measured, what the table needs: by prompt the modes' distance from the target and the error of the told share."""
    rows = results["rows"].items()
    return {
        "accuracy": results["accuracy"],
        "off": {
            name: abs(it["told"][0] - it["arms"]["vanilla"]["mode_shares"]["0"]["value"])
            for name, it in rows
            if "told" in it
        },
        "mode_fd": {
            arm: {name: it["arms"][arm]["mode_fd"]["value"] for name, it in rows} for arm in ("vanilla", "guided")
        },
        "kept_cosine": results["over_prompts"]["guided"]["kept_cosine"],
        "precision": {
            arm: mean(it["arms"][arm]["precision"]["pixels"] for _, it in rows) for arm in ("vanilla", "guided")
        },
        "rows_over_vanilla": results["rows_over_vanilla"],
        "config_hashes": results["config_hashes"],
    }


def run(overrides: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """As `experiments.occupations_dit.measure`, in short."""
    return in_short(measure(overrides, seeds))


def line(name: str, results: Mapping[str, Any]) -> str:
    """The row of a variant."""
    vanilla, guided = (results["mode_fd"][arm].values() for arm in ("vanilla", "guided"))
    off = results["off"].values()
    told = [f"{results['accuracy']:.3f}", f"{mean(off):.3f}" if off else "n/a"]
    far = [f"{number:.3f}" for number in (mean(vanilla), mean(guided), max(guided))]
    kept = interval(results["kept_cosine"]) if off else "n/a"  # few prompts keep all of their seeds
    like = [f"{results['precision'][arm]:.3f}" for arm in ("vanilla", "guided")]
    cells = [name, *told, *far, kept, *like, f"{results['rows_over_vanilla']:.2f}"]
    return f"| {' | '.join(cells)} |"


def page(every: Every) -> str:
    """A table with a row for each variant.

    Args:
        every: results of `run` by variant.
    """
    counted = f"`python -m experiments.{NAME}`, generate seed {SEED}: {len(every)} of its {len(VARIANTS)} variants."
    text = [
        "# Occupations on a transformer: what helps, on a development seed",
        "",
        f"{counted} Informed encoder, a partition transferred from a person, 20 occupations, N = 64 for each; no label is read. "
        "Precision: of all images, among vanilla ones of other seeds. "
        "Told share: that of mode 0 by the projector at the first guided step, beside that of vanilla images by the encoder; n/a "
        "where seeds are chosen. Rows: those that the denoiser evaluates for a delivered image, over vanilla's.",
        "",
        HEAD,
        *(line(name, every[name]) for name in VARIANTS if name in every),
    ]
    return "\n".join(text)


def main(arguments: Sequence[str]) -> None:
    """Run the variants whose names hold one of the words, all without a word; keep what is measured of the others."""
    asked = [name for name in VARIANTS if any(word in name for word in arguments or [""])]
    run_variants(NAME, VARIANTS, asked, dict.fromkeys(VARIANTS, (SEED,)), page, run)


if __name__ == "__main__":
    main(sys.argv[1:])
