"""What guidance costs: vanilla and guided pipeline calls, alternating in one process, with ratios of time and peak memory."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from experiments.pooled import ROOT, write_study
from selfdebias.config import load
from selfdebias.guidance import GuidanceState
from selfdebias.hspace import BottleneckHook, Step
from selfdebias.job import run_job
from selfdebias.metrics.cost import CostMeter
from selfdebias.seeds import image_seeds
from selfdebias.stages.generate import read_semantics
from selfdebias.targets import make

ROUNDS = 5
BATCH = 32


def main(overrides: list[str]) -> None:
    """Time both on the same seeds; the first round warms up and is left out."""
    arguments = [*overrides, "stages=[collect,discover,project]", f"paths.root={ROOT}", "logger=none"]
    config = load(arguments)
    job = run_job(config, arguments)
    stages = json.loads((job / "job.json").read_text())["stages"]
    backbone, guidance = make(config, "model"), make(config, "guidance")
    state = GuidanceState(read_semantics(Path(ROOT) / stages["project"]))
    pipeline, prompts = backbone.load(), [config["prompts"]["text"]] * BATCH

    def edit(h: Tensor, step: Step) -> Tensor:
        with state.timed():
            return guidance.edit(h, step, state)

    meters: dict[str, list[CostMeter]] = {"vanilla": [], "guided": []}
    shares = []
    for i in tqdm(range(ROUNDS + 1), desc="rounds"):
        seeds = image_seeds("benchmark", i, range(BATCH))
        with CostMeter() as meter:
            backbone.generate(pipeline, prompts, seeds)
        meters["vanilla"].append(meter)
        state.begin("benchmark", tuple(seeds))
        state.seconds = 0.0
        with CostMeter() as meter, BottleneckHook(pipeline, edit):
            backbone.generate(pipeline, prompts, seeds)
        meters["guided"].append(meter)
        shares.append(state.seconds / meter.seconds)
    _report(meters, shares)


def _report(meters: dict[str, list[CostMeter]], shares: list[float]) -> None:
    pairs = list(zip(meters["vanilla"][1:], meters["guided"][1:], strict=True))
    times = [guided.seconds / vanilla.seconds for vanilla, guided in pairs]
    peak = {name: statistics.median(meter.peak_process_mb for meter in rounds[1:]) for name, rounds in meters.items()}
    numbers = {
        "rounds": len(pairs), "batch": BATCH, "threads": torch.get_num_threads(),
        "seconds_per_image": {name: statistics.median(m.seconds for m in ms[1:]) / BATCH for name, ms in meters.items()},
        "time_ratio": {"median": statistics.median(times), "min": min(times), "max": max(times)},
        "peak_memory_mb": peak, "peak_memory_ratio": peak["guided"] / peak["vanilla"],
        "guidance_share": statistics.median(shares[1:]),
    }  # fmt: skip
    text = (
        f"# Cost of guidance\n\n`python -m experiments.benchmarks.guidance_cost`: {len(pairs)} pairs of vanilla and guided calls "
        f"of {BATCH} images, alternating, on {numbers['threads']} threads.\n\n"
        f"| | median | smallest | largest |\n|---|---|---|---|\n"
        f"| time, guided to vanilla | {statistics.median(times):.3f} | {min(times):.3f} | {max(times):.3f} |\n"
        f"| peak memory of the process, guided to vanilla | {numbers['peak_memory_ratio']:.3f} | | |\n"
        f"| share of the guidance call itself | {numbers['guidance_share']:.3f} | {min(shares[1:]):.3f} | {max(shares[1:]):.3f} |"
    )
    write_study("guidance_cost", text, numbers)


if __name__ == "__main__":
    main(sys.argv[1:])
