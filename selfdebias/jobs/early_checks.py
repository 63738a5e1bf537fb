"""What is checked of a job before any weight is loaded and any folder made, beside what the configuration itself must look like."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.config.combinations import guidance_of_arms, model_of_arms
from selfdebias.config.prompts import CROSS, NoPrompt
from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.targets import check_job, make
from selfdebias.jobs.evaluation_inputs import check_inputs
from selfdebias.jobs.failures import disk_is_full
from selfdebias.judges import known_classes
from selfdebias.judges.labelled import Classes, labelled_images
from selfdebias.modes.banks import SupervisedBank

if TYPE_CHECKING:
    from selfdebias.guidance.base import Method


def check_early(config: Mapping[str, Any]) -> None:
    """Checks first what needs none of the slow libraries, then what the guidance itself refuses, or does not go with the job.

    Raises:
        ConfigError: With the first thing that is wrong.
    """
    check_writable(Path(config["paths"]["root"]))
    check_inputs(config["evaluate"])
    check_devices(config["trainer"])
    check_processes(config)
    make(config, "prompts")
    try:
        classes = known_classes(config["judge"])
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error
    if classes is not None:  # else the judge itself has to be made, which takes the slow libraries
        check_judged(config, classes)
    for group in ("vocabulary", "bank"):
        make(config, group)
    check_job({"guidance": config["guidance"]})
    for guidance in guidance_of_arms(config["guidance"]).values():
        _check_guidance(config, make({"guidance": guidance}, "guidance"))


def check_writable(root: Path) -> None:
    """Refuses a root of runs in which no folder can be made; the one that is made to find out is gone afterwards.

    Raises:
        ConfigError: If a file is in the way or the folder may not be written.
    """
    place = Path(root).absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=place):
            pass
    except OSError as error:
        if disk_is_full(error):
            raise
        raise ConfigError(
            f"`paths.root` must be a folder that can be written, got {root} ({error.strerror})."
        ) from None


def check_devices(trainer: Mapping[str, Any]) -> None:
    """Refuses an accelerator that is not there, more devices than there are, and a precision that they do not have.

    Args:
        trainer: The group's configuration.

    Raises:
        ConfigError: With the first of them.
    """
    devices, accelerator, precision = trainer["devices"], trainer.get("accelerator"), str(trainer.get("precision"))
    mixed = precision.endswith("-mixed")
    if devices == 1 and accelerator in ("auto", "cpu", None) and not mixed:
        return  # there is nothing to ask torch for, which is slow to come
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if not {"cuda": cuda, "mps": mps, "gpu": cuda or mps}.get(str(accelerator), True):
        raise refuse("trainer.accelerator", "auto, cpu, or one that this computer has", accelerator)
    if mixed and (accelerator == "cpu" or not (cuda or mps)):
        raise refuse("trainer.precision", "one that is not mixed where there is no GPU, such as 32-true", precision)
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and cuda)
    there = torch.cuda.device_count() if on_gpu else os.cpu_count() or 1
    if 1 < devices > there:
        words = f"at most {there}, the {'GPUs' if on_gpu else 'cores'} of this computer"
        raise refuse("trainer.devices", words, devices)


def check_judged(config: Mapping[str, Any], classes: Classes) -> None:
    """Refuses attributes and labelled images that the judge does not know.

    Args:
        config: The resolved configuration.
        classes: The judge's, by attribute.

    Raises:
        ConfigError: With the first of them.
    """
    evaluate, bank, known = config["evaluate"], make(config, "bank"), f"{', '.join(classes)}, which the judge knows"
    attributes = make(config, "prompts").attributes
    for name in [part for attribute in attributes for part in attribute.split(CROSS)]:  # "gender x tone": both
        if name not in classes:
            raise refuse("prompts.attributes", f"some of {known}", name)
    if isinstance(bank, SupervisedBank) and bank.attribute not in classes and not evaluate["folders"]:
        raise refuse("bank.attribute", f"one of {known}", bank.attribute)
    if evaluate["labelled"]:
        try:
            labelled_images(Path(evaluate["labelled"]), classes)
        except (OSError, ValueError) as error:
            raise ConfigError(" ".join(str(error).split())) from error


def _check_guidance(config: Mapping[str, Any], guidance: Method) -> None:
    """Refuses a schedule that gives no step of the arms' sampler a weight, a batch that cannot be split, an edit of no text."""
    from selfdebias.guidance import ClassifierGuidance, Guidance, NoGuidance

    steps, devices, schedule = (
        model_of_arms(config).get("steps"),
        config["trainer"]["devices"],
        make(config, "schedule"),
    )
    drawn = not isinstance(guidance, NoGuidance) and not config["evaluate"]["folders"]
    if drawn and isinstance(steps, int) and not any(schedule.weight(i, steps, 0.5) > 0 for i in range(steps)):
        words = f"a window with a step in it: the {steps} steps are at 0, 1/{steps}, ..., {steps - 1}/{steps}"
        raise refuse("schedule", words, f"{schedule.start} to {schedule.stop}")
    if devices > 1 and not guidance.splits:
        raise refuse("trainer.devices", "1 with a guidance whose batch cannot be split", devices)
    editing = getattr(guidance, "steer", guidance)
    if getattr(editing, "needs_means", False) and config["clustering"].get("space") == "projected":
        words = (
            "one that needs no mean activations of the modes, such as transport, where `clustering.space` is projected"
        )
        raise refuse("guidance", words, type(editing).__name__)
    if isinstance(editing, ClassifierGuidance) and not isinstance(make(config, "bank"), SupervisedBank):
        raise refuse(
            "bank", "supervised for guidance=classifier, which needs labelled images", config["bank"]["_target_"]
        )
    if isinstance(guidance, Guidance) and guidance.site == "text" and isinstance(make(config, "prompts"), NoPrompt):
        words = "one that edits `h_t` for a model without prompts, such as guidance=transport"
        raise refuse("guidance", words, type(guidance).__name__)


def check_processes(config: Mapping[str, Any]) -> None:
    """Refuses devices that could not be used.

    Raises:
        ConfigError: With the first value that is wrong.
    """
    trainer = config["trainer"]
    devices, strategy = trainer.get("devices"), trainer.get("strategy", "auto")
    if trainer.get("num_nodes", 1) != 1:  # composed only: nobody has tried it
        raise refuse("trainer.num_nodes", "1 for a job that runs (--cfg job composes any)", trainer["num_nodes"])
    if devices == 1:
        return
    if strategy != "ddp":
        raise refuse("trainer.devices", "1 without trainer=ddp", devices)
    if config["evaluate"]["folders"]:
        raise refuse("trainer.devices", "1 for `evaluate.folders`: nothing is drawn that could be shared", devices)
    for stage in ("collect", "generate"):
        for name in ("n_images", "batch_size"):
            if stage in config["stages"] and devices > config[stage][name]:
                words = f"at most {config[stage][name]}, the images of `{stage}.{name}` that they share"
                raise refuse("trainer.devices", words, devices)
    device = str(config["model"].get("device"))
    if ":" in device:
        raise refuse("model.device", "a kind of device, such as cuda, on several devices", device)


def wants_several(config: Mapping[str, Any]) -> bool:
    """Whether a job is to run in several processes."""
    return config["trainer"].get("strategy") == "ddp" and config["trainer"]["devices"] > 1
