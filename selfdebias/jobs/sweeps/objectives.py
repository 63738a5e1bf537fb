"""What a search may ask of a job: numbers of its guided arm, which way each is better, and which trials are the best."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

from selfdebias.config.rules import refuse

NAN = float("nan")
MODE_FD = "mode_fd"
DIRECTIONS = {  # of numbers without labels
    MODE_FD: "minimize",
    "psnr": "maximize",
    "kept_cosine": "maximize",
    "kept_share": "maximize",
    "precision_ratio": "maximize",
    "precision": "maximize",
    "recall": "maximize",
    "kid": "minimize",
    "cmmd": "minimize",
    "frechet_distance": "minimize",
    "clip_score": "maximize",
}
JUDGED = (
    "fd_hard",
    "fd_soft",
    "deviation_ratio",
)  # of an attribute, by the judge: settings are then chosen with labels
GUIDED, KEPT = "guided", "kept_cosine"
OVER_PROMPTS = ("fd_hard", "deviation_ratio", KEPT)  # of which a list of prompts has means


def direction(name: str) -> str:
    """Which way an objective is better, in Optuna's words.

    Raises:
        ConfigError: If there is no such number.

    Example:
        >>> direction("mode_fd"), direction("kept_cosine"), direction("gender.fd_hard")
        ('minimize', 'maximize', 'minimize')
    """
    if is_judged(name):
        return "minimize"
    if name not in DIRECTIONS:
        judged = ", ".join(f"<attribute>.{it}" for it in JUDGED)
        raise refuse("hydra.sweeper.objectives", f"one or two of {', '.join(DIRECTIONS)}, {judged}", name)
    return DIRECTIONS[name]


def check_search(settings: Mapping[str, Any]) -> list[str]:
    """Checks the options of hydra/sweeper=search and returns its objectives; another sweeper has none.

    Args:
        settings: The section `hydra.sweeper` of the configuration.

    Raises:
        ConfigError: With the first option that is out of its range.
    """
    if "objectives" not in settings:
        return []
    for key in ("n_trials", "n_jobs", "startup"):
        if settings[key] < 1:
            raise refuse(f"hydra.sweeper.{key}", "a whole number of at least 1", settings[key])
    names = [str(name) for name in settings["objectives"]]
    if len(names) not in (1, 2):
        raise refuse("hydra.sweeper.objectives", "one or two numbers", names)
    for name in names:
        direction(name)
    return names


def check_measured(names: Sequence[str], config: Mapping[str, Any]) -> None:
    """Checks that the jobs of a search measure its objectives, before the first of them runs.

    Args:
        names: objectives, as in `direction`.
        config: that of a job.

    Raises:
        ConfigError: If one is of an attribute that is not reported, or, with a list of prompts, has no mean over them.
    """
    attributes, option = config["prompts"]["attributes"], "hydra.sweeper.objectives"
    for name in names:
        attribute, _, measure = name.rpartition(".")
        if attribute and attribute not in attributes:
            raise refuse(
                option, f"of a reported attribute (prompts.attributes: {', '.join(attributes) or 'none'})", name
            )
        if config["prompts"].get("subjects") and (
            measure not in OVER_PROMPTS or (attribute == "") != (measure == KEPT)
        ):
            words = f"{KEPT}, <attribute>.{OVER_PROMPTS[0]} or <attribute>.{OVER_PROMPTS[1]} with a list of prompts"
            raise refuse(option, words, name)


def is_judged(name: str) -> bool:
    """Whether an objective is a measure of the judge's, which was trained on labels."""
    return name.rpartition(".")[2] in JUDGED and "." in name


def values_of_job(job: Path, names: Sequence[str]) -> list[float]:
    """The objectives of a finished job; NaN for what it does not measure.

    Args:
        job: Its folder.
        names: As in `direction`.
    """
    file = job / "results.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    arm = found.get("arms", {}).get(GUIDED) or found.get("over_prompts", {}).get(GUIDED) or {}
    return [value_of(arm, name, balanced_axes(found)) for name in names]


def unmeasured(job: Path, names: Sequence[str]) -> list[str]:
    """The objectives that a finished job does not measure, so that it counts as a failed trial."""
    return [name for name, value in zip(names, values_of_job(job, names), strict=True) if isnan(value)]


def axes_of(names: Sequence[str]) -> tuple[str, str] | None:
    """Two objectives as x and y of a plot in which lower is better for y; None where there are not two such.

    Example:
        >>> axes_of(["mode_fd", "psnr"]), axes_of(["psnr", "kid"]), axes_of(["psnr", "recall"]), axes_of(["kid"])
        (('psnr', 'mode_fd'), ('psnr', 'kid'), None, None)
    """
    low = [name for name in names if direction(name) == "minimize"]
    if len({*names}) != 2 or not low:
        return None
    return next(name for name in names if name != low[0]), low[0]


def balanced_axes(results: Mapping[str, Any]) -> Sequence[int] | None:
    """The axes that an arm was to balance, as `results.json` has them; None for all."""
    found: Sequence[int] | None = results.get("modes", {}).get("balanced")
    return found


def value_of(arm: Mapping[str, Any], name: str, axes: Sequence[int] | None = None) -> float:
    """A number of an arm, NaN for what it does not have; with axes, `mode_fd` is the mean over them.

    Args:
        arm: Its numbers.
        name: As in `direction`.
        axes: Those in the mean; None or none for all.
    """
    if name == MODE_FD and arm.get("axes"):
        return fmean(value_of(arm["axes"][a], "fd") for a in axes or range(len(arm["axes"])))
    node: object = arm
    names = {"precision_ratio": "turned.precision_ratio"} | (
        {} if "frechet_distance" in arm else {"frechet_distance": "fid"}
    )
    for key in names.get(name, name).split("."):  # `fid` is the same distance in Inception's features
        node = node.get(key) if isinstance(node, dict) else None
    value = node.get("value") if isinstance(node, dict) else node
    return float(value) if isinstance(value, int | float) else NAN


def best_of(trials: Sequence[Sequence[float]], names: Sequence[str]) -> list[int]:
    """The places of the trials that no other one beats: none is at least as good in all objectives and better in one.

    Args:
        trials: The objectives of each trial, in the order of `names`; one with a NaN is none of the best.
        names: As in `direction`.

    Returns:
        Places in `trials`, by the first objective, the best of it first.

    Example:
        >>> best_of([[0.3, 20.0], [0.1, 10.0], [0.2, 9.0], [NAN, 99.0]], ["mode_fd", "psnr"])
        [1, 0]
    """
    signs = [1 if direction(name) == "minimize" else -1 for name in names]
    costs = {
        place: tuple(sign * value for sign, value in zip(signs, values, strict=True))
        for place, values in enumerate(trials)
        if not any(map(isnan, values))
    }

    def beaten(own: tuple[float, ...]) -> bool:
        return any(
            other != own and all(it <= mine for it, mine in zip(other, own, strict=True)) for other in costs.values()
        )

    return sorted((place for place, own in costs.items() if not beaten(own)), key=lambda place: costs[place])
