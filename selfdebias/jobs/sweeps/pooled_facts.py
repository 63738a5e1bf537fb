"""Seeds and costs of jobs that are measured as if they were one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfdebias.metrics.number import missing

Results = Mapping[str, Any]


def seeds_of(every: Sequence[Results]) -> dict[str, Any]:
    """Seeds of the stages: one, or the list of those that the jobs have.

    Args:
        every: `results.json` of each job.
    """
    seeds = {stage: list(dict.fromkeys(it.get("seeds", {}).get(stage) for it in every)) for stage in every[0]["seeds"]}
    return {stage: found if len(found) > 1 or stage == "generate" else found[0] for stage, found in seeds.items()}


def costs_of(every: Sequence[Results]) -> dict[str, Any]:
    """Costs by arm, the means over the jobs, null where one of them did not measure it; and the most processes.

    Args:
        every: `results.json` of each job.
    """
    arms, keys = every[0]["arms"], ("seconds_per_image", "rows_per_image")
    means: dict[str, Any] = {key: {arm: _mean_cost(every, key, arm) for arm in arms} for key in keys}
    most = max((it["cost"].get("processes", {}) for it in every), key=lambda it: len({*it.values()}))
    return {**means, "processes": most}


def _mean_cost(every: Sequence[Results], key: str, arm: str) -> float | dict[str, Any]:
    found = [results["cost"].get(key, {}).get(arm) for results in every]
    known = [float(value) for value in found if isinstance(value, int | float)]
    lacking = missing(f"`{key}` of the {arm} arm was not measured").to_json()
    return float(np.mean(known)) if len(known) == len(every) else lacking
