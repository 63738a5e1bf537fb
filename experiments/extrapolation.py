"""A model without classifier-free guidance: how far edits have to be extrapolated, on development seeds."""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, who_judged, write_study

SEEDS = (101, 102, 103)
SCALES = (1, 1.5, 2, 2.5, 3, 4)


def main(overrides: list[str]) -> None:
    """Run each scale over the development seeds, and write one table."""
    model = [*overrides, "model=emoji_ddpm"]
    every = {f"scale {w}": run_pooled([*model, f"guidance.extrapolation_scale={w}"], SEEDS) for w in SCALES}
    every["scale 1, edits up to 6 times as large as `h_t`"] = run_pooled(
        [*model, "guidance.extrapolation_scale=1", "guidance.limit=6"], SEEDS
    )
    first = next(iter(every.values()))
    rows = [row("vanilla", first, "vanilla"), *(row(name, results, "guided") for name, results in every.items())]
    text = [
        f"# Extrapolation in place of a guidance scale, `model=emoji_ddpm`, on development seeds {', '.join(map(str, SEEDS))}", "",
        "`python -m experiments.extrapolation`; at scale 1 the UNet is called as it is, and an edit counts once.", "",
        HEADER, *rows, "", who_judged(first),
    ]  # fmt: skip
    write_study("extrapolation", "\n".join(text), every)


if __name__ == "__main__":
    main(sys.argv[1:])
