"""What is checked of a job before anything slow is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdebias.config.rules import ConfigError, refuse


def check_early(config: Mapping[str, Any]) -> None:
    """Checks what needs none of the slow libraries, so that most mistakes are answered within seconds.

    Raises:
        ConfigError: With the first thing that is wrong.
    """
    from selfdebias.config.arms import guidance_of_arms
    from selfdebias.config.evaluated_folders import drawn_or_not
    from selfdebias.jobs.evaluation_inputs import check_inputs
    from selfdebias.jobs.source_checks import check_sources

    check_writable(Path(config["paths"]["root"]))
    check_sources(drawn_or_not(config))
    check_inputs(config["evaluate"])
    from selfdebias.config.targets import check_job, make
    from selfdebias.jobs.parts import check_devices
    from selfdebias.jobs.processes import check_processes

    check_devices(config["trainer"])
    check_processes(config)
    _check_attributes(config)
    for group in ("schedule", "vocabulary", "bank"):  # these load no weights
        make(config, group)
    check_job({"guidance": config["guidance"]})
    for guidance in guidance_of_arms(config["guidance"]).values():
        _check_shares(guidance.get("target"), config["clustering"], config["bank"])
        made = make({"guidance": guidance}, "guidance")
        _check_window(config, made)
        if config["trainer"]["devices"] > 1 and not made.splits:
            raise refuse(
                "trainer.devices", "1 with a guidance whose batch cannot be split", config["trainer"]["devices"]
            )


def _check_window(config: Mapping[str, Any], guidance: Any) -> None:
    """Refuses a schedule that gives no step of the arms' sampler a weight: they would be vanilla, and called guided."""
    from selfdebias.config.arms import model_of_arms
    from selfdebias.config.targets import make
    from selfdebias.guidance import NoGuidance

    steps, schedule = model_of_arms(config).get("steps"), make(config, "schedule")
    if isinstance(guidance, NoGuidance) or config["evaluate"]["folders"] or not isinstance(steps, int):
        return
    if not any(schedule.weight(index, steps, 0.5) > 0 for index in range(steps)):
        words = f"a window with a step in it: the {steps} steps are at 0, 1/{steps}, ..., {steps - 1}/{steps}"
        raise refuse("schedule", words, f"{schedule.start} to {schedule.stop}")


def _check_shares(target: Any, clustering: Mapping[str, Any], bank: Mapping[str, Any]) -> None:
    """Holds the number of wanted shares against that of modes where one is asked for; else guidance does, later."""
    k = None if clustering.get("max_depth") or "attribute" in bank else clustering.get("k")
    if k is not None and isinstance(target, Sequence) and not isinstance(target, str) and len(target) != k:
        raise refuse("guidance.target", f"{k} shares, one for each mode of `clustering.k`", list(target))


def _check_attributes(config: Mapping[str, Any]) -> None:
    """Holds attributes and labels against the judge's classes where they are known without torch; else `Parts` does."""
    from selfdebias.config.targets import make
    from selfdebias.jobs.parts import check_attributes
    from selfdebias.judges import known_classes
    from selfdebias.judges.labelled import labelled_images

    prompts = make(config, "prompts")
    try:
        classes = known_classes(config["judge"])
        if classes is not None:
            check_attributes(prompts.attributes, classes)
            if config["evaluate"]["labelled"]:
                labelled_images(Path(config["evaluate"]["labelled"]), classes)
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error


def check_writable(root: Path) -> None:
    """Refuses a root of runs in which no folder can be made, without making one.

    Raises:
        ConfigError: If a file is in the way or the folder may not be written.
    """
    place = Path(root).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"`paths.root` must be a folder that can be written, got {root}.")
