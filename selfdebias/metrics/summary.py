"""Builds `results.json` from arrays: the same function for one job and for a study that pools arms over many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from selfdebias.metrics import modes as mode_metrics
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.entries import Entry, missing
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.summary_corrected import corrected_metrics
from selfdebias.metrics.summary_cost import summarise_cost
from selfdebias.metrics.summary_fairness import attribute_metrics, attribute_shares, by_run, mode_metrics_of, rate
from selfdebias.metrics.summary_preservation import preservation
from selfdebias.metrics.summary_quality import distances
from selfdebias.metrics.summary_within import distances_within_modes
from selfdebias.metrics.verdict import verdicts
from selfdebias.prompts import CROSS

VANILLA = "vanilla"


def summarise(
    arms: Mapping[str, ArmData],
    reference: ArmData,
    modes: Mapping[str, Any],
    prompts: Mapping[str, Any],
    suite: MetricSuite,
    bootstrap: int = 1000,
    seed: int = 0,
    judge: Mapping[str, Any] | None = None,
    costs: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure each arm, and state every number as a value with interval, N and floor, or as null with a reason.

    Blanked images are counted in `blanked` and left out of everything else; `unclassified` is among the others.
    Twins are the images at the same row, so pooled arms must have been pooled alike (`arms.pool`).

    Args:
        arms: images by arm; comparisons are with the one called `vanilla`.
        reference: vanilla images of other seeds.
        modes: what the discover stage wrote: `k`, `sizes`, `silhouette`, `stability`, `target`, `labels` (mode by reference id).
        prompts: `text`, and the `attributes` to report.
        suite: fixed choices of the metrics.
        bootstrap: resamples of blocks.
        seed: of the resampling.
        judge: what is to be said of the judge; copied. Its `error` is what shares are corrected by.
        costs: by arm, what its generate stage wrote into `generate.json`.
        seeds: of the stages `collect` and `generate`; copied.

    Returns:
        the JSON object of `results.json`, without `config_hash`.

    Raises:
        ValueError: if the judge does not know an attribute to report.
    """
    attributes = list(prompts["attributes"])
    unknown = [part for name in attributes for part in name.split(CROSS) if part not in reference.classes]
    if unknown:
        raise ValueError(f"`prompts.attributes` must be among {sorted(reference.classes)}, got {unknown[0]!r}.")
    arms, reference = {name: arm.crossed(attributes) for name, arm in arms.items()}, reference.crossed(attributes)
    resampling = BlockBootstrap(bootstrap, seed, suite.level)
    shown = reference.rows(~reference.blanked)
    vanilla = arms.get(VANILLA)
    measured_arms = {
        name: summarise_arm(arm, vanilla, shown, modes, attributes, suite, resampling, (judge or {}).get("error", {}))
        for name, arm in arms.items()
    }
    return {
        "seeds": dict(seeds or {}),
        "prompts": dict(prompts),
        "judge": dict(judge or {}),
        "features": suite.described_features(),
        "arms": measured_arms,
        "compared": verdicts(measured_arms, VANILLA, attributes),
        "modes": summarise_modes(shown, modes, attributes),
        "cost": summarise_cost(costs or {}),
    }


def summarise_arm(
    arm: ArmData,
    vanilla: ArmData | None,
    reference: ArmData,
    modes: Mapping[str, Any],
    attributes: list[str],
    suite: MetricSuite,
    resampling: BlockBootstrap,
    error: Mapping[str, Any],
) -> dict[str, Any]:
    """Measure one arm against the reference and, unless it is vanilla itself, against its vanilla twins."""
    shown = arm.rows(~arm.blanked)
    result: dict[str, Any] = {name: attribute_metrics(shown, name, resampling) for name in attributes}
    result["shares"] = {name: attribute_shares(shown, name, resampling) for name in attributes}
    result["corrected"] = {name: corrected_metrics(shown, name, error, resampling) for name in attributes}
    result["by_run"] = {name: by_run(shown, name) for name in attributes}
    result["unclassified"] = {name: rate(~shown.labels(name)[1], shown.blocks, resampling.level) for name in attributes}
    result["blanked"] = rate(arm.blanked, arm.blocks, resampling.level)
    result |= mode_metrics_of(shown, modes["target"], resampling)
    shown_vanilla = None if vanilla is None or arm.arm == VANILLA else vanilla.rows(~vanilla.blanked)
    result |= distances(shown, shown_vanilla, reference, suite, resampling)
    k = len(modes["target"])
    result["within_modes"] = distances_within_modes(shown, shown_vanilla, reference, k, suite, resampling)
    result |= preservation(arm, vanilla, reference, k, suite, resampling)
    return result


def summarise_modes(reference: ArmData, modes: Mapping[str, Any], attributes: list[str]) -> dict[str, Any]:
    """Describe the modes, and how the discovered labels of the reference images agree with each judged attribute."""
    found = np.array([modes["labels"][str(i)] for i in reference.ids], dtype=np.int64)

    def agreement(metric: Any, attribute: str) -> float | Entry:
        labels, sure = reference.labels(attribute)
        if not sure.any():
            return missing("no reference image is classified")
        return metric(found[sure], labels[sure])

    return {
        **{key: modes[key] for key in ("k", "sizes", "silhouette", "stability", "target")},
        "nmi": {name: agreement(mode_metrics.nmi, name) for name in attributes},
        "ari": {name: agreement(mode_metrics.ari, name) for name in attributes},
    }
