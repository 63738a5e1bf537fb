"""Gathers what the report shows: the settings of a job, and what its finished stages left in their folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from selfdebias.config.combinations import guidance_of_arms
from selfdebias.metrics.arms import load_arm
from selfdebias.metrics.number import finite
from selfdebias.report.wording import plain
from selfdebias.storage.atomic import read_json, read_lines
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.hidden import redacted
from selfdebias.storage.images import read_sheet

Array = NDArray[np.floating]


class Images(Protocol):
    """Images by id."""

    def ids(self) -> list[int]:
        """Ids of all images, sorted."""

    def images(self, ids: Sequence[int]) -> Tensor:
        """Images (N, 3, H, W) float in [0, 1], in the order of `ids`."""


@dataclass(frozen=True)
class ArmMaterial:
    """What one arm left behind.

    Attributes:
        folder: Its images.
        modes: Index of each image's mode, by image id, in id order; -1 where no modes are known.
        seeds: Seed of each image, or what stands for one, by image id.
        e: (N, d) unit embeddings in id order.
        p_hat: (B, S, K) projected shares; B = 0 for an arm without guidance.
        names: Names of images by id, where they have some.
    """

    folder: Images
    modes: dict[int, int]
    seeds: dict[int, int]
    e: Array
    p_hat: Array
    names: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def judged(cls, folder: Images, evaluated: Path, name: str, p_hat: Array | None = None) -> ArmMaterial:
        """An arm of which an evaluate stage has seen the images."""
        seen = load_arm(evaluated, name)
        order = np.argsort(seen.ids)
        modes, seeds = ({int(seen.ids[row]): int(of[row]) for row in order} for of in (seen.modes, seen.seeds))
        return cls(folder, modes, seeds, seen.e[order], np.zeros((0, 0, 0)) if p_hat is None else p_hat)


@dataclass(frozen=True)
class Material:
    """All that a report shows.

    Attributes:
        job: `{"config": resolved configuration, "command": command line, "config_hash": ...}`.
        results: The contents of `results.json`.
        found: The contents of `modes.json`, with the target that was asked for; {} where no modes are known.
        sheets: A contact sheet for each mode.
        arms: What each arm left, first the one that the others are compared with.
        curves: Points (step, value) of each curve of the projector.
        trained: The contents of `project.json`.
    """

    job: Mapping[str, Any]
    results: dict[str, Any]
    found: dict[str, Any]
    sheets: dict[int, Image.Image]
    arms: dict[str, ArmMaterial]
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    trained: dict[str, Any] = field(default_factory=dict)

    @property
    def accuracy_by_block(self) -> dict[int, float]:
        """How often the projector of each block tells the mode of a held-out image, mean of the steps; {} where there is one."""
        by_block = self.trained.get("accuracy_by_block", {})
        means = {int(block): fmean(steps["cond"].values()) for block, steps in by_block.items()}
        return dict(sorted(means.items()))

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.arms))


def read_material(
    job: Mapping[str, Any], arms: Mapping[str, Path], discovered: Path, projected: Path | None, evaluated: Path
) -> Material:
    """Reads the folders of the finished stages.

    Args:
        job: `{"config": resolved configuration, "command": command line, "config_hash": ...}`.
        arms: Folder of each arm; a vanilla arm is among them.
        discovered: Folder of the discover stage.
        projected: Folder of the project stage; None for a job without guidance.
        evaluated: Folder of the evaluate stage.

    Raises:
        ValueError: If `arms` has no vanilla arm.
        FileNotFoundError: If a stage lacks a file that it should have left.
    """
    if "vanilla" not in arms:
        raise ValueError(f"`arms` must hold a vanilla arm, got {list(arms)}.")
    results = _results(job, Path(evaluated))
    found, sheets = read_modes(Path(discovered), results)
    trained = Path(projected) / "project.json" if projected else None
    projector = read_json(trained) if trained and trained.exists() else {}
    names = ["vanilla", *(name for name in arms if name != "vanilla")]
    return Material(
        job=job,
        results=results,
        found=found,
        sheets=sheets,
        arms={name: _arm(Path(arms[name]), Path(evaluated), name, projector.get("block")) for name in names},
        curves=read_curves(Path(projected) / "metrics.jsonl") if projected else {},
        trained=projector,
    )


def read_curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Curves of a `metrics.jsonl`: points (step, value) in the order of the file, by name; {} without the file."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in read_lines(path):
        step, value = finite(line.get("step")), finite(line.get("value"))
        if step is not None and value is not None:
            curves.setdefault(str(line["name"]), []).append((step, value))
    return curves


def read_modes(discovered: Path, results: Mapping[str, Any]) -> tuple[dict[str, Any], dict[int, Image.Image]]:
    """The contents of `modes.json`, with the target that was asked for, and a contact sheet for each mode."""
    asked = {name: results["modes"][name] for name in ("target", "balanced") if name in results["modes"]}
    found = {**read_json(discovered / "modes.json"), **asked}
    return found, {mode: read_sheet(discovered / f"mode-{mode}.png") for mode in range(len(found["sizes"]))}


def _arm(path: Path, evaluated: Path, name: str, block: int | None) -> ArmMaterial:
    """What an arm left; where there were edits after several blocks, the shares that were read after one, `block`."""
    folder, shares = BatchFolder.open(path), []
    for _, tensors in folder.tensors():
        if "p_hat" in tensors:
            own = tensors["edit_block"] == block if "edit_block" in tensors else slice(None)
            shares.append(tensors["p_hat"][own].double())
    shares = [batch for batch in shares if batch.ndim == 2 and batch.numel()]
    return ArmMaterial.judged(folder, evaluated, name, torch.stack(shares).numpy() if shares else None)


def _results(job: Mapping[str, Any], evaluated: Path) -> dict[str, Any]:
    """The results with what only the job knows: its hash and its seeds."""
    results, config = read_json(evaluated / "results.json"), job.get("config", {})
    seeds = {stage: config[stage]["seed"] for stage in ("collect", "generate") if "seed" in (config.get(stage) or {})}
    results["config_hash"] = job.get("config_hash", results.get("config_hash", ""))
    results["seeds"] = {**seeds, **results.get("seeds", {})}
    return results


def settings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The parts of a job with their settings: pairs of a name and a value; an arm beside the guided one has its own."""
    config = redacted(config)
    if config.get("guidance"):
        arms = {arm: part for arm, part in guidance_of_arms(config["guidance"]).items() if arm != "vanilla"}
        config = {**config, "guidance": arms.pop("guided", None), **arms}
    names = {"random": "Random control", "attribute_prompts": "Attribute prompts"}
    parts = ("model", "encoder", "clustering", "projector", "guidance", *names, "schedule", "judge")
    return [(names.get(part, part.capitalize()), described(config[part])) for part in parts if config.get(part)]


def described(part: Any) -> str:
    """One part of the configuration in one line: its class and its settings.

    >>> described({"_target_": "selfdebias.guidance.self_debias.SelfDebiasGuidance", "strength": 0.5})
    'SelfDebiasGuidance (strength 0.5)'
    """
    if not isinstance(part, Mapping):
        return plain(part)
    settings = {key: value for key, value in part.items() if not str(key).startswith("_") and is_set(value)}
    words = ", ".join(f"{key} {described(value)}" for key, value in settings.items())
    name = plain(str(part.get("_target_", "")).rsplit(".", 1)[-1])
    return f"{name} ({words})" if name and words else name or words


def is_set(value: Any) -> bool:
    """Whether a setting says anything: None, an empty one, and a part with no setting of its own do not.

    >>> is_set(0), is_set(None), is_set({"_target_": "a.B", "name": None, "options": {}})
    (True, False, False)
    """
    if isinstance(value, Mapping):
        return any(is_set(item) for key, item in value.items() if not str(key).startswith("_"))
    return value is not None and value != []
