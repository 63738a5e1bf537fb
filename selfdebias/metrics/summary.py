"""Builds `results.json` from arrays and costs: the same function for one job and for a study that pools arms over many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfdebias.config.prompts import CROSS
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.comparison import GUIDED, NO_MODES, NO_REFERENCE, Comparison, Sets, paired_rows
from selfdebias.metrics.composition import composition
from selfdebias.metrics.corrected import corrected_metrics
from selfdebias.metrics.differences import differences
from selfdebias.metrics.features import JUDGE, PIXELS
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.metric import MetricSuite
from selfdebias.metrics.modes import cells_in, mode_entries, summarise_modes
from selfdebias.metrics.number import Number, all_missing, json_of, missing, of_one_run
from selfdebias.metrics.preservation import paired_agreement, preservation
from selfdebias.metrics.quality import against_reference, clip_score_of, keys_for, silence_clip_scores
from selfdebias.metrics.shares import attribute_metrics, attribute_shares, by_run, rate
from selfdebias.metrics.spaces import ENCODER, EXTRACTOR, Quality, quality_by_features
from selfdebias.metrics.verdicts import verdicts
from selfdebias.metrics.within_modes import distances_within_modes


def summarise(
    arms: Mapping[str, ArmData],
    reference: ArmData | None,
    modes: Mapping[str, Any] | None,
    prompts: Mapping[str, Any],
    suite: MetricSuite,
    bootstrap: int = 1000,
    seed: int = 0,
    judge: Mapping[str, Any] | None = None,
    costs: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: Mapping[str, Any] | None = None,
    collected: ArmData | None = None,
    compared: Comparison | None = None,
    spaces: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Measure each arm, and state every number as a value with interval, N and floor, or as null with a reason.

    Images flagged by the safety checker are counted in `blanked` and left out of everything else; those that are
    `unclassified` are among the others. Paired samples are the images with the same seed (`comparison.paired_rows`). An arm's
    `difference` is that from the baseline, and from the guided arm where it is another one (`metrics.differences`).

    Args:
        arms: images by arm.
        reference: vanilla images of other seeds, or any that quality is held against; None where there are none.
        modes: what the discover stage wrote: `k`, `sizes`, `silhouette`, `stability`, `target`, `labels` (mode by id of a collected
            image; without them the modes' agreement with the judge is not measured); of axes also `places`, an `AxisSides`, and
            `balanced`, the numbers of those that an arm balanced, if not all; None where no modes are known.
        prompts: `text`, and the `attributes` to report.
        suite: fixed choices of the metrics.
        bootstrap: resamples of blocks.
        seed: of the resampling.
        judge: what is to be said of the judge; copied. Its `error` is what shares are corrected by.
        costs: by arm, what its generate stage wrote into `generate.json`; its `skipped_edits`, `dependence` and `told` are copied.
        seeds: of the stages `collect` and `generate`; copied.
        collected: the images that the modes were found on; None if they are the reference.
        compared: which arm the others are compared with; None for the one called `vanilla`.
        spaces: by name (`encoder`, `extractor`, `judge`, `pixels`), what is to be said of the features that images are compared
            by; the `name` of those of the encoder and the extractor are read here.

    Returns:
        the JSON object of `results.json`, without `config_hash`.

    Raises:
        ValueError: if the judge does not know an attribute to report.
    """
    compared, attributes = compared or Comparison(), list(prompts["attributes"])
    arms = _crossed(arms, reference, attributes)
    shown, found_on = _shown(reference, attributes), _shown(reference if collected is None else collected, attributes)
    resampling, error = BlockBootstrap(bootstrap, seed, suite.level), (judge or {}).get("error", {})
    vanilla, axes = arms.get(compared.baseline), len((modes or {}).get("axes", []))
    described = describe_spaces([*arms.values()], suite, judge or {}, spaces or {})
    every = {it: Sets(arms[it], vanilla, shown, suite, resampling, compared, cells_in(modes), axes) for it in arms}
    features = described.get(EXTRACTOR, described[ENCODER])
    measured_arms = _measure(every, modes, attributes, error, features)
    dependence = {arm: str(it["dependence"]) for arm, it in (costs or {}).items() if "dependence" in it}
    results = {
        "seeds": dict(seeds or {}),
        "prompts": dict(prompts),
        "level": suite.level,
        "judge": dict(judge or {}),
        "features": features,
        "spaces": described,
        "arms": of_one_run({name: measured_arms[name] for name in arms}, dependence),
        "verdicts": verdicts(measured_arms, compared.baseline, attributes, suite.level),
        "baseline": compared.baseline,
        "twins": {name: _paired(arm, vanilla) for name, arm in arms.items() if name != compared.baseline},
        "modes": summarise_modes(found_on, modes, attributes),
        "cost": summarise_cost(costs or {}),
        "skipped_edits": {arm: int(it["skipped_edits"]) for arm, it in (costs or {}).items() if "skipped_edits" in it},
        "dependence": dependence,
    }
    if told := {arm: it["told"] for arm, it in (costs or {}).items() if "told" in it}:
        results["told"] = told
    return json_of(results)


def _measure(
    every: Mapping[str, Sets],
    modes: Mapping[str, Any] | None,
    attributes: list[str],
    error: Mapping[str, Any],
    features: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Measure all arms, the baseline first, since others have its floors, and then their differences."""
    measured: dict[str, dict[str, Any]] = {}
    for name, sets in sorted(every.items(), key=lambda it: it[0] != it[1].compared.baseline):
        own = measured.get(sets.compared.baseline, {}).get("quality")
        measured[name] = summarise_arm(sets, modes, attributes, error, features, own)
    silence_clip_scores(measured)
    for name, sets in every.items():
        measured[name] |= _differences(sets, {it: other.arm for it, other in every.items()}, attributes, modes)
    return measured


def _differences(
    sets: Sets, arms: Mapping[str, ArmData], attributes: list[str], modes: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The differences from the baseline, and of a further arm those from the guided one."""
    name, baseline = sets.arm.arm, sets.compared.baseline
    others = [other for other in (baseline, GUIDED) if other in arms and name not in (baseline, other)]
    apart = {other: differences(sets, arms[other], attributes, modes) for other in dict.fromkeys(others)}
    return {"difference": apart} if apart else {}


def _paired(arm: ArmData, vanilla: ArmData | None) -> int:
    return 0 if vanilla is None else len(paired_rows(arm.seeds, vanilla.seeds)[0])


def _crossed(arms: Mapping[str, ArmData], reference: ArmData | None, attributes: Sequence[str]) -> dict[str, ArmData]:
    """The arms with the intersections among the attributes, all of which the judge has to know."""
    classes = next(arm.classes for arm in [*arms.values(), reference] if arm is not None)
    for name in [part for attribute in attributes for part in attribute.split(CROSS)]:
        if name not in classes:
            raise ValueError(f"`prompts.attributes` must be among {sorted(classes)}, got {name!r}.")
    return {name: arm.crossed(attributes) for name, arm in arms.items()}


def _shown(arm: ArmData | None, attributes: Sequence[str]) -> ArmData | None:
    """The images that no safety checker replaced, with the intersections among the attributes."""
    return None if arm is None else arm.rows(~arm.blanked).crossed(attributes)


def summarise_arm(
    sets: Sets,
    modes: Mapping[str, Any] | None,
    attributes: list[str],
    error: Mapping[str, Any],
    features: Mapping[str, Any],
    own: Quality | None,
) -> dict[str, Any]:
    """Measure one arm against the reference and, unless it is vanilla itself, against its paired vanilla samples."""
    arm, resampling, every = sets.arm, sets.resampling, sets.shown()
    shown = every.arm
    result: dict[str, Any] = {name: attribute_metrics(shown, name, resampling) for name in attributes}
    result["shares"] = {name: attribute_shares(shown, name, resampling) for name in attributes}
    result["corrected"] = {name: corrected_metrics(shown, name, error, resampling) for name in attributes}
    result["by_run"] = {name: by_run(shown, name) for name in attributes}
    result["unclassified"] = {name: rate(~shown.labels(name)[1], shown.blocks, resampling.level) for name in attributes}
    result["blanked"] = rate(arm.blanked, arm.blocks, resampling.level)
    result |= mode_entries(shown, modes, resampling)
    if every.reference is None:
        result |= all_missing((*keys_for(features), "within_modes"), NO_REFERENCE)
    else:
        result |= against_reference(every, every.reference, keys_for(features))
        result["within_modes"] = distances_within_modes(every, every.reference) if modes else missing(NO_MODES)
    result["clip_score"] = clip_score_of(shown, resampling.level)
    result |= preservation(sets)
    result["quality"] = quality_by_features(sets, result, own)
    result["paired_agreement"] = paired_agreement(sets, attributes)
    result["composition"] = composition(sets, attributes)
    return result


def describe_spaces(
    arms: Sequence[ArmData], suite: MetricSuite, judge: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Say whose features images are compared by: by name, `name` and `dim`, and of an extractor what it says of itself."""
    first = arms[0] if arms else None
    names: dict[str, Mapping[str, Any]] = {
        ENCODER: {"name": "encoder", "dim": 0 if first is None else first.e.shape[1]}
    }
    if first is not None and first.features is not None:
        names[EXTRACTOR] = {"name": "extractor", "dim": first.features.shape[1]} | (suite.described_features() or {})
    who = {JUDGE: judge.get("name") or "judge", PIXELS: "colours averaged over a grid of 16 x 16"}
    for arm in arms:
        names |= {name: {"name": who.get(name, name), "dim": x.shape[1]} for name, x in arm.spaces.items()}
    return {name: {**it, **told.get(name, {}), "dim": it["dim"]} for name, it in names.items()}


def summarise_cost(costs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """State what each arm cost, and the guided arm's cost over vanilla's.

    Args:
        costs: by arm, `seconds_per_image`, `rows_per_image` (rows that the denoiser evaluated for each delivered image),
            `guidance_share` (share of the time spent in guidance), `peak_memory_mb`, and `processes`, how many drew the arm
            together, 1 where it is not stated.

    Returns:
        `seconds_per_image`, `rows_per_image` and `processes` by arm, `ratio` (of seconds), `rows_ratio`, `guidance_share`,
        `peak_memory_ratio`; a plain number each, or a null with a reason.

    Example:
        >>> arms = {"vanilla": {"seconds_per_image": 2.0}, "guided": {"seconds_per_image": 2.5, "guidance_share": 0.1}}
        >>> cost = summarise_cost(arms)
        >>> cost["ratio"], cost["guidance_share"], cost["peak_memory_ratio"].reason
        (1.25, 0.1, '`peak_memory_mb` of the guided arm was not measured')
    """
    return {
        "seconds_per_image": {arm: _number(costs, arm, "seconds_per_image") for arm in costs},
        "rows_per_image": {arm: _number(costs, arm, "rows_per_image") for arm in costs},
        "processes": {arm: int(it["processes"]) for arm, it in costs.items() if "processes" in it},
        "ratio": _ratio(costs, "seconds_per_image"),
        "rows_ratio": _ratio(costs, "rows_per_image"),
        "guidance_share": _number(costs, "guided", "guidance_share"),
        "peak_memory_ratio": _ratio(costs, "peak_memory_mb"),
    }


def _number(costs: Mapping[str, Mapping[str, Any]], arm: str, key: str) -> float | Number:
    if arm not in costs:
        return missing(f"there is no {arm} arm")
    value = costs[arm].get(key)
    return missing(f"`{key}` of the {arm} arm was not measured") if value is None else float(value)


def _ratio(costs: Mapping[str, Mapping[str, Any]], key: str) -> float | Number:
    guided, vanilla = _number(costs, "guided", key), _number(costs, "vanilla", key)
    if isinstance(guided, Number):
        return guided
    if isinstance(vanilla, Number):
        return vanilla
    together = [int(costs[arm].get("processes", 1)) for arm in ("vanilla", "guided")]
    if together[0] != together[1]:
        return missing(f"the vanilla arm was drawn by {together[0]} processes, the guided arm by {together[1]}")
    return guided / vanilla if vanilla > 0 else missing(f"`{key}` of the vanilla arm is {vanilla:g}")
