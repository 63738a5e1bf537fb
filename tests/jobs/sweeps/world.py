"""Finished jobs on disk, of random images: what a table reads of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from selfdebias.jobs.sweeps.record import DONE, JobState, SweepFolder
from selfdebias.metrics.arms import ArmData, save_arm
from selfdebias.metrics.metric import MetricSuite
from selfdebias.metrics.prompts import over_prompts
from selfdebias.metrics.summary import summarise
from selfdebias.storage.atomic import write_json, write_text
from tests.report.example import CLASSES, example_arm, example_modes

JUDGE = {
    "name": "EmojiJudge",
    "circular": False,
    "encoder_id": None,
    "classes": {k: list(v) for k, v in CLASSES.items()},
}
PROMPTS = {"text": "an emoji of a person", "attributes": ["gender", "tone"]}
REFERENCE = example_arm("reference", 0.75, 48, seed=99)
N = 32


def arms_of_job(seed: int, men: float, names: tuple[str, ...] = ("vanilla", "guided")) -> dict[str, ArmData]:
    """Arms with a share of `men` under guidance, and image seeds that no other generate seed has."""
    arms = {}
    for place, name in enumerate(names):
        arm = example_arm(name, 0.75 if name == "vanilla" else men, N, seed=10 * seed + place)
        arms[name] = replace(arm, seeds=(np.arange(N) + 1000 * seed).astype(np.uint64))
    return arms


def config_of(seed: int, strength: float, clustering: str = "a.KMeans") -> dict[str, Any]:
    return {
        "clustering": {"_target_": clustering, "k": len(clustering)},
        "guidance": {"_target_": "a.SelfDebias", "strength": strength},
        "generate": {"n_images": N, "seed": seed},
        "prompts": PROMPTS,
        "metrics": {"_target_": "selfdebias.metrics.MetricSuite", "nearest": 3, "features": None},
        "evaluate": {"bootstrap": 100, "seed": 0, "folders": None},
        "paths": {"root": f"anywhere/{seed}"},
        "stages": ["collect", "discover", "project", "generate", "evaluate"],
    }


def measured(arms: dict[str, ArmData], seeds: Any) -> dict[str, Any]:
    costs = {name: {"seconds_per_image": 0.2 if name == "vanilla" else 0.3} for name in arms}
    return summarise(
        arms, REFERENCE, example_modes(REFERENCE), PROMPTS, MetricSuite(), bootstrap=100, judge=JUDGE, costs=costs,
        seeds={"collect": 0, "generate": seeds},
    )  # fmt: skip


def write_job(
    root: Path, name: str, seed: int, strength: float, men: float, rows: tuple[str, ...] = ("",), **more: Any
):
    """Writes the folder of a job with its stages; returns it."""
    job, stages, results = root / "jobs" / name, {}, {}
    for row in rows:
        middle = f"/{row}" if row else ""
        arms = arms_of_job(seed, men)
        evaluated, discovered = f"stages/evaluate/{name}{row}", f"stages/discover/shared{row}"
        stages |= {f"evaluate{middle}": evaluated, f"discover{middle}": discovered}
        stages |= {f"generate{middle}/vanilla": f"stages/generate/v{seed}{row}"}
        for arm in [*arms.values(), REFERENCE]:
            save_arm(root / evaluated, arm)
        write_json(root / discovered / "modes.json", example_modes(REFERENCE))
        results[row] = measured(arms, seed)
    write_json(job / "job.json", {"command": "selfdebias", "config_hash": name, "stages": stages})
    write_text(job / "config.yaml", yaml.safe_dump(config_of(seed, strength, **more), sort_keys=False))
    one = results[rows[0]] if rows == ("",) else _of_rows(results, seed)
    write_json(job / "results.json", {"config_hash": name, **one})
    return job


def _of_rows(results: dict[str, Any], seed: int) -> dict[str, Any]:
    prompts = {**PROMPTS, "subjects": list(results)}
    facts = {"seeds": {"collect": 0, "generate": seed}, "prompts": prompts, "row_names": list(results)}
    return {**facts, "rows": results, "over_prompts": over_prompts(results)}


def write_sweep(root: Path, strengths: dict[float, float], seeds: tuple[int, ...] = (1, 2), **more: Any) -> SweepFolder:
    """Writes a finished sweep over strengths, with the share of men of each, and seeds."""
    sweep = SweepFolder(root / "sweeps" / "0123")
    pairs = [(strength, seed) for strength in strengths for seed in seeds]
    sweep.start("selfdebias -m", [[f"guidance.strength={it}", f"generate.seed={seed}"] for it, seed in pairs])
    for num, (strength, seed) in enumerate(pairs):
        job = write_job(root, f"h{num}", seed, strength, strengths[strength], **more)
        sweep.write_state(num, JobState(DONE, job=str(job.relative_to(root)), seconds=1.0))
    return sweep


def read(file: Path) -> Any:
    return json.loads(file.read_text())
