"""Fitted under one sampler, used under another: what it costs in effect. The projector sees the training timestep alone."""

from __future__ import annotations

import sys

from experiments.variants import SOFT, Study, both_arms

SOLVER = "{name: DPMSolverMultistepScheduler, options: {algorithm_type: dpmsolver++}}"
VARIANTS = {
    "50 DDIM steps -> 50 DDIM steps": ["model.steps=50"],
    "50 DDIM steps -> 20 DPM-Solver++ steps": ["model.steps=50", f"generate.sampler={{steps: 20, scheduler: {SOLVER}}}"],
    "20 DPM-Solver++ steps -> 20 DPM-Solver++ steps": [
        "model.steps=20", "model.scheduler.name=DPMSolverMultistepScheduler", "+model.scheduler.options.algorithm_type=dpmsolver++",
    ],
}  # fmt: skip
STUDY = Study("samplers", 'Samplers, "an emoji of a person"', (501, 502, 503), VARIANTS, SOFT, both_arms)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
