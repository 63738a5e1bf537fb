"""Fitted under one sampler, used under another: what it costs in effect. The projector sees the training timestep alone."""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, who_judged, write_study

SEEDS = (101, 102)
SOLVER = "{name: DPMSolverMultistepScheduler, options: {algorithm_type: dpmsolver++}}"
ANCESTRAL = "{name: EulerAncestralDiscreteScheduler}"
VARIANTS = {
    "50 DDIM steps -> 50 DDIM steps": ["model.steps=50"],
    "50 DDIM steps -> 20 DPM-Solver++ steps": ["model.steps=50", f"generate.sampler={{steps: 20, scheduler: {SOLVER}}}"],
    "20 DPM-Solver++ steps -> 20 DPM-Solver++ steps": [
        "model.steps=20", "model.scheduler.name=DPMSolverMultistepScheduler", "+model.scheduler.options.algorithm_type=dpmsolver++",
    ],
    "50 DDIM steps -> 30 Euler ancestral steps": [
        "model.steps=50", f"generate.sampler={{steps: 30, scheduler: {ANCESTRAL}}}",
    ],
}  # fmt: skip


def main(overrides: list[str]) -> None:
    """Run each pair over the development seeds, and write one table, with a vanilla row for each sampler."""
    every = {name: run_pooled([*overrides, *variant], SEEDS) for name, variant in VARIANTS.items()}
    rows = [row(f"{name}, {arm}", results, arm) for name, results in every.items() for arm in ("vanilla", "guided")]
    text = [
        f'# Samplers, "an emoji of a person", on development seeds {", ".join(map(str, SEEDS))}', "",
        "`python -m experiments.samplers`; fitted under the first sampler, drawn with the second.", "", HEADER, *rows, "",
        who_judged(next(iter(every.values()))),
    ]  # fmt: skip
    write_study("samplers", "\n".join(text), every)


if __name__ == "__main__":
    main(sys.argv[1:])
