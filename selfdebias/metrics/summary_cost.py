"""The cost block of `results.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.entries import Entry, missing


def summarise_cost(costs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """State what each arm cost, and the guided arm's cost over vanilla's.

    Args:
        costs: by arm, `seconds_per_image`, `guidance_share` (share of the time spent in guidance), `peak_memory_mb`, and
            `processes`, how many drew the arm together, 1 where it is not stated.

    Returns:
        `seconds_per_image` by arm, `ratio`, `guidance_share`, `peak_memory_ratio`; a plain number each, or a null with
        a reason.

    Example:
        >>> arms = {"vanilla": {"seconds_per_image": 2.0}, "guided": {"seconds_per_image": 2.5, "guidance_share": 0.1}}
        >>> cost = summarise_cost(arms)
        >>> cost["ratio"], cost["guidance_share"], cost["peak_memory_ratio"]["reason"]
        (1.25, 0.1, '`peak_memory_mb` of the guided arm was not measured')
    """
    return {
        "seconds_per_image": {arm: _number(costs, arm, "seconds_per_image") for arm in costs},
        "ratio": _ratio(costs, "seconds_per_image"),
        "guidance_share": _number(costs, "guided", "guidance_share"),
        "peak_memory_ratio": _ratio(costs, "peak_memory_mb"),
    }


def _number(costs: Mapping[str, Mapping[str, Any]], arm: str, key: str) -> float | Entry:
    if arm not in costs:
        return missing(f"there is no {arm} arm")
    value = costs[arm].get(key)
    return missing(f"`{key}` of the {arm} arm was not measured") if value is None else float(value)


def _ratio(costs: Mapping[str, Mapping[str, Any]], key: str) -> float | Entry:
    guided, vanilla = _number(costs, "guided", key), _number(costs, "vanilla", key)
    if isinstance(guided, dict):
        return guided
    if isinstance(vanilla, dict):
        return vanilla
    together = [int(costs[arm].get("processes", 1)) for arm in ("vanilla", "guided")]
    if together[0] != together[1]:
        return missing(f"the vanilla arm was drawn by {together[0]} processes, the guided arm by {together[1]}")
    return guided / vanilla if vanilla > 0 else missing(f"`{key}` of the vanilla arm is {vanilla:g}")
