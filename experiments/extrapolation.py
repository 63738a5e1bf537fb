"""A model without classifier-free guidance: how far edits have to be extrapolated, on development seeds."""

from __future__ import annotations

import sys

from experiments.variants import EARLIER, Study

SCALES = (1, 1.5, 2, 2.5, 3, 4)
KL = ["model=emoji_ddpm", "guidance=self_debias", *EARLIER]
VARIANTS = {
    **{f"scale {w}": [*KL, f"guidance.extrapolation_scale={w}"] for w in SCALES},
    "scale 1, edits up to 6 times as large as `h_t`": [*KL, "guidance.extrapolation_scale=1", "guidance.limit=6"],
}
STUDY = Study(
    name="extrapolation",
    title="Extrapolation in place of a guidance scale, `model=emoji_ddpm`",
    seeds=(101, 102, 103),
    variants=VARIANTS,
    notes=lambda every: ["At scale 1 the UNet is called as it is, and an edit counts once."],
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
