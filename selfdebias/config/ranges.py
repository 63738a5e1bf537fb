"""The range of each value of a part, by its group and its name.

The schema asks here, so that a wrong value is answered at once, and so does the class that has the value: there is one range.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from selfdebias.config.rules import (
    LARGEST,
    TEXT,
    TEXT_NOT_BLANK,
    TRUE_OR_FALSE,
    Rule,
    at_least,
    is_number,
    list_of,
    number_in,
    one_of,
    or_null,
    refuse,
    walk,
    whole,
    whole_in,
)

WANDB_MODES = ("disabled", "offline", "online")  # the more private ones first
SPACES = ("image", "residual", "projected")
MOST_FACTORS = 8  # axes: their cells are 2 to the power of them
# What a number or a list of numbers of a guidance may be in place of it.
NAMED: Mapping[str, tuple[str, ...]] = {"temperature": ("calibrated",), "target": ("uniform", "depth")}
# Schedulers of diffusers that take the noise levels and the predictions of DDPM, DDIM and Stable Diffusion.
SCHEDULERS = tuple(
    f"{name}Scheduler"
    for name in (
        *("DDIM", "DDPM", "PNDM", "LMSDiscrete", "EulerDiscrete", "HeunDiscrete", "EulerAncestralDiscrete"),
        *("DPMSolverMultistep", "DPMSolverSinglestep", "KDPM2Discrete", "KDPM2AncestralDiscrete", "DEISMultistep"),
        *("UniPCMultistep", "DDIMParallel", "DDPMParallel", "SASolver", "LCM", "TCD", "IPNDM"),
    )
)


def is_target(value: Any) -> bool:
    """Whether a value is the name of a target, or at least two shares that sum to 1.

    Example:
        >>> is_target("uniform"), is_target([0.5, 0.5]), is_target([1.0]), is_target([True, False])
        (True, True, False, False)
    """
    if isinstance(value, str):
        return value in NAMED["target"]
    shares = isinstance(value, list | tuple) and all(is_number(share) and share >= 0 for share in value)
    return shares and len(value) >= 2 and abs(sum(value) - 1) <= 1e-5


TARGET = Rule(
    "a list of at least two shares that sum to 1, uniform or depth", lambda value: value is None or is_target(value)
)
_FACTORS = Rule(
    f"whole numbers in [1, {MOST_FACTORS}]",
    lambda value: whole_in(1, MOST_FACTORS).holds(value) or list_of(whole_in(1, MOST_FACTORS)).holds(value),
)
_SIDE = Rule("a multiple of 8 pixels, at most 16384", lambda value: whole(value) and value % 8 == 0 < value <= 2**14)
_DEVICE = Rule(
    "a torch device such as cpu or cuda",
    lambda value: isinstance(value, str) and bool(re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", value)),
)
_BLOCKS = Rule(
    "a list of whole numbers from 0, the smallest first",
    lambda value: list_of(at_least(0)).holds(value) and len(value) > 0 and sorted(set(value)) == list(value),
)
_FALSE = Rule("false", lambda value: value is False)

RANGES: Mapping[str, Mapping[str, Rule]] = {
    "model": {
        "steps": whole_in(1, 10**4),
        "guidance_scale": number_in(1, 100),
        "guidance_rescale": number_in(0, 1),
        "eta": number_in(0, 1),
        "height": or_null(_SIDE),
        "width": or_null(_SIDE),
        "blocks": or_null(_BLOCKS),
        "t5": TRUE_OR_FALSE,
        "scheduler.name": or_null(one_of(*SCHEDULERS)),
        "dtype": one_of("float32", "float16", "bfloat16"),
        "device": _DEVICE,
        "offload": one_of("none", "model", "sequential"),
    },
    "projector": {
        "reader": one_of("flattened", "pooled", "convolutional"),
        "relative_to": one_of("activation", "standardised"),
        "resolution": whole_in(1, 8),
        "hidden": whole_in(1, 2**16),
        "steps": whole_in(1, 10**7),
        "batch_size": whole_in(2, 10**6),
        "noise": number_in(0, LARGEST),
        "weight_decay": number_in(0, LARGEST),
        "temperature": number_in(1e-6, LARGEST),
        "learning_rate": number_in(0, 10, "(]"),
        "dropout": number_in(0, 1, "[)"),
        "balanced": TRUE_OR_FALSE,
        "negatives": TRUE_OR_FALSE,
        "layers": whole_in(1, 16),
        "activation": one_of("silu", "relu"),
        "time": one_of("sinusoidal", "step"),
        "standardised": TRUE_OR_FALSE,
        "schedule": one_of("one_cycle", "constant"),
    },
    "clustering": {
        "k": or_null(at_least(1)),
        "k_min": at_least(2),
        "k_max": at_least(2),
        "n_neighbors": list_of(at_least(1)),
        "choice": one_of("silhouette", "stability"),
        "space": one_of(*SPACES),
        "covariance": one_of("diag", "spherical", "tied", "full"),
        "linkage": one_of("ward", "average", "complete"),
        "n_init": at_least(1),
        "min_size": at_least(1),
        "max_depth": at_least(0),
        "min_samples": at_least(1),
        "min_cluster_size": at_least(2),
        "factors": _FACTORS,
        "halves": at_least(2),
        "restarts": at_least(1),
        "variance": number_in(0, 1, "(]"),
        "recurrence": number_in(0, 1, "(]"),
        "agreement": number_in(0, 1, "()"),
    },
    "guidance": {
        "strength": number_in(0, LARGEST),
        "target": TARGET,
        **{name: number_in(0, 1) for name in ("tau1", "tau2", "psi")},
    },
    "judge": {"threshold": number_in(0, 1), "temperature": number_in(0, LARGEST, "(]")},
    # What Lightning's Trainer may be told. Anything else shortens stages, or leaves files where nobody looks for them.
    "trainer": {
        "accelerator": one_of("auto", "cpu", "gpu", "cuda", "mps"),
        "devices": at_least(1),
        "num_nodes": at_least(1),
        "strategy": Rule("ddp (trainer=ddp), or auto for one device", lambda value: value in ("auto", "ddp")),
        "use_distributed_sampler": _FALSE,
        "precision": Rule("32-true, as the model has a model.dtype of its own", lambda value: value == "32-true"),
        "inference_mode": _FALSE,
        "logger": _FALSE,
        "enable_checkpointing": _FALSE,
        "enable_model_summary": TRUE_OR_FALSE,
        "enable_progress_bar": TRUE_OR_FALSE,
    },
    # What a logger would refuse only once the job is done.
    "logger": {
        "wandb.mode": one_of(*WANDB_MODES),
        "wandb.project": or_null(TEXT_NOT_BLANK),
        **{f"wandb.{name}": or_null(TEXT_NOT_BLANK) for name in ("entity", "name", "group", "notes", "job_type", "id")},
        **{
            f"{name}.name": TEXT_NOT_BLANK for name in ("csv", "tensorboard")
        },  # else other files of the folder are mixed up
        **{
            f"{name}.{key}": or_null(TEXT_NOT_BLANK)
            for name in ("csv", "tensorboard")
            for key in ("save_dir", "version")
        },
        **{f"{name}.prefix": TEXT for name in ("csv", "tensorboard")},
    },
    "paths": {"root": Rule("the path of a folder", TEXT_NOT_BLANK.holds)},
}


def check_values(group: str, values: Mapping[str, Any], path: str = "") -> None:
    """Refuses values out of their ranges.

    Args:
        group: Of the part.
        values: Its values by name; those that have no range are not looked at. What a guidance replays is a guidance too.
        path: Where they stand in the configuration, "" for the group.

    Raises:
        ConfigError: With the first that is wrong.

    Example:
        >>> check_values("judge", {"threshold": 2})
        Traceback (most recent call last):
        selfdebias.config.rules.ConfigError: `judge.threshold` must be a number in [0, 1], got 2.
    """
    rules = RANGES.get(group, {})
    for name, value in walk(values):
        rule = rules.get(name.removeprefix("of.").removeprefix("steer."))
        if rule and not rule.holds(value):
            raise refuse(f"{path or group}.{name}", rule.words, value)
