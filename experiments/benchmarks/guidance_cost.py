"""What guidance costs: vanilla and guided pipeline calls, alternating in one process, with ratios of time and peak memory.

    python -m experiments.benchmarks.guidance_cost [model=emoji_dit] [OVERRIDE ...]

Beside the shipped UNet, or with `model=emoji_dit` beside the shipped transformer, which has files of its own.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from experiments.pooled import ROOT, write_study
from selfdebias.config.compose import load
from selfdebias.config.targets import make
from selfdebias.guidance import GuidanceState
from selfdebias.guidance.attachment import Attachment
from selfdebias.jobs.job import run_job
from selfdebias.jobs.stages.fitted_files import read_semantics
from selfdebias.jobs.stages.sampling import CostMeter
from selfdebias.storage.images import image_seeds

ROUNDS = 9  # a machine that does other things scatters by a tenth
BATCH = 32
STUDIES = {"emoji": "guidance_cost", "emoji_dit": "guidance_cost_dit"}  # by model
METHODS = {"emoji": ("self_debias", "transport"), "emoji_dit": ("self_debias", "transport")}
BAR = 0.06  # largest share of the sampling time that a guidance call may take


def main(overrides: list[str]) -> None:
    """Time all on the same seeds; the first round warms up and is left out."""
    model = next((it.partition("=")[2] for it in overrides if it.startswith("model=")), "emoji")
    if model not in STUDIES:
        sys.exit(f"`model` must be one of {', '.join(STUDIES)} here, got {model!r}")
    methods = METHODS[model]
    arguments = [*overrides, "stages=[collect,discover,project]", f"paths.root={ROOT}", "logger=none"]
    config = load(arguments)
    stages = json.loads((run_job(config, arguments) / "job.json").read_text())["stages"]
    state = GuidanceState(read_semantics(Path(ROOT) / stages["project"]))
    backbone, schedule, prompts = make(config, "model"), make(config, "schedule"), [config["prompts"]["text"]] * BATCH
    pipeline = backbone.load()
    guidances = {name: make(load([*arguments, f"guidance={name}"]), "guidance") for name in methods}
    meters: dict[str, list[CostMeter]] = {name: [] for name in ("vanilla", *methods)}
    shares: dict[str, list[float]] = {name: [] for name in methods}
    for i in tqdm(range(ROUNDS + 1), desc="rounds"):
        seeds = image_seeds("benchmark", i, range(BATCH))
        with CostMeter() as meter:
            backbone.generate(pipeline, prompts, seeds)
        meters["vanilla"].append(meter)
        for name, guidance in guidances.items():
            state.seconds = 0.0
            with CostMeter() as meter, Attachment(pipeline, guidance, schedule, state):
                backbone.generate(pipeline, prompts, seeds)
            meters[name].append(meter)
            shares[name].append(state.seconds / meter.seconds)
    _report(model, meters, shares)


def _report(model: str, meters: dict[str, list[CostMeter]], shares: dict[str, list[float]]) -> None:
    numbers = {
        "rounds": len(meters["vanilla"]) - 1, "batch": BATCH, "threads": torch.get_num_threads(), "bar": BAR,
        "seconds_per_image": {name: statistics.median(m.seconds for m in ms[1:]) / BATCH for name, ms in meters.items()},
        **{name: _numbers(meters["vanilla"][1:], meters[name][1:], shares[name][1:]) for name in shares},
    }  # fmt: skip
    rows = [
        f"| {name} | {_range(numbers[name]['time_ratio'])} | {numbers[name]['peak_memory_ratio']:.3f} | "
        f"{_range(numbers[name]['guidance_share'])} |"
        for name in shares
    ]
    command = f"python -m experiments.benchmarks.guidance_cost{'' if model == 'emoji' else f' model={model}'}"
    text = (
        f"# Cost of guidance\n\n`{command}`: {numbers['rounds']} rounds of a vanilla call "
        f"and a guided one of each kind, {BATCH} images each, on {numbers['threads']} thread(s). Median, smallest and largest; the "
        f"guidance call itself is to take at most {BAR} of the time.\n\n"
        f"| guidance | time, to vanilla | peak memory, to vanilla | share of the guidance call itself |\n|---|---|---|---|\n"
    )
    write_study(STUDIES[model], text + "\n".join(rows), numbers)


def _numbers(vanilla: list[CostMeter], guided: list[CostMeter], shares: list[float]) -> dict[str, Any]:
    peaks = [statistics.median(meter.peak_process_mb for meter in rounds) for rounds in (vanilla, guided)]
    return {
        "time_ratio": _spread([ours.seconds / theirs.seconds for theirs, ours in zip(vanilla, guided, strict=True)]),
        "peak_memory_ratio": peaks[1] / peaks[0],
        "guidance_share": _spread(shares),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _range(spread: dict[str, float]) -> str:
    return f"{spread['median']:.3f} ({spread['min']:.3f} to {spread['max']:.3f})"


if __name__ == "__main__":
    main(sys.argv[1:])
