"""What a search may ask of a job: numbers of its guided arm, and which way each is better."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from selfdebias.config.rules import refuse

NAN = float("nan")
DIRECTIONS = {  # of numbers without labels
    "mode_fd": "minimize",
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
GUIDED = "guided"


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
    return [_value(arm, name) for name in names]


def _value(arm: dict[str, object], name: str) -> float:
    node: object = arm
    for key in ("turned." + name if name == "precision_ratio" else name).split("."):
        node = node.get(key) if isinstance(node, dict) else None
    value = node.get("value") if isinstance(node, dict) else node
    return float(value) if isinstance(value, int | float) else NAN
