"""A finished job of random images in which guidance balances two modes, made by the package's own storage and metrics."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfdebias.metrics.arms import ArmData, save_arm
from selfdebias.metrics.metric import MetricSuite
from selfdebias.metrics.summary import summarise
from selfdebias.storage.atomic import append_line, write_json
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import contact_sheet

CLASSES = {
    "gender": ("man", "woman"),
    "tone": ("pale", "light", "tan", "brown", "dark"),
    "age": ("child", "adult", "older"),
}
PROMPT = "an emoji of a person"
BATCH = 8


def example_arm(arm: str, share: float, n: int, seed: int, d: int = 8) -> ArmData:
    """An arm whose first `share` of images are men and in mode 0; images of one rank have one embedding noise."""
    draw = np.random.default_rng(seed)
    ids = np.arange(n)
    modes = (np.argsort(np.argsort(np.random.default_rng(7).random(n))) >= round(share * n)).astype(np.int64)
    e = np.eye(d)[modes] + 0.15 * draw.standard_normal((n, d))
    probabilities = {"gender": np.eye(2)[modes] * 0.9 + 0.05}
    for name in ("tone", "age"):
        labels = np.random.default_rng(11).integers(0, len(CLASSES[name]), n)
        probabilities[name] = np.eye(len(CLASSES[name]))[labels] * 0.9 + 0.1 / len(CLASSES[name])
    return ArmData(
        arm=arm,
        threshold=0.5,
        classes=CLASSES,
        probabilities=probabilities,
        e=e / np.linalg.norm(e, axis=1, keepdims=True),
        modes=modes,
        ids=ids,
        seeds=ids.astype(np.uint64) + (10_000 if arm == "reference" else 0),
        blocks=ids if arm in ("reference", "vanilla") else ids // BATCH,
        runs=np.zeros_like(ids),
        blanked=np.zeros(n, dtype=bool),
        psnr=None if arm in ("reference", "vanilla") else np.full(n, 25.0),
        spaces={"judge": example_features(modes, seed, 16), "pixels": example_features(modes, seed + 1000, 12)},
    )


def example_features(modes: np.ndarray, seed: int, d: int) -> np.ndarray:
    """Features that guidance does not act in, (N, d) float16."""
    return (np.eye(d)[modes] + 0.3 * np.random.default_rng(seed).random((len(modes), d))).astype(np.float16)


def example_arms(names: tuple[str, ...] = ("vanilla", "guided"), n: int = 32) -> dict[str, ArmData]:
    """Arms by name: 3/4 men in vanilla and random, 1/2 in guided."""
    shares = {"vanilla": 0.75, "guided": 0.5, "random": 0.75}
    return {name: example_arm(name, shares.get(name, 0.6), n, seed=place) for place, name in enumerate(names)}


def example_modes(reference: ArmData) -> dict[str, Any]:
    """The contents of `modes.json`."""
    sizes = np.bincount(reference.modes, minlength=2).tolist()
    return {
        "k": 2,
        "sizes": sizes,
        "shares": [size / sum(sizes) for size in sizes],
        "silhouette": 0.55,
        "stability": {"value": 0.9, "n": 48},
        "silhouettes": {"2": 0.55, "3": 0.31},
        "labels": {str(i): int(mode) for i, mode in zip(reference.ids, reference.modes, strict=True)},
        "target": [0.5, 0.5],
        "components": 1,
        "words": [[{"caption": "an emoji of a man", "effect": 3.2, "p": 1e-9}], []],
    }


def example_results(
    names: tuple[str, ...] = ("vanilla", "guided"), n: int = 32, prompt: str = PROMPT
) -> dict[str, Any]:
    """The contents of a job's `results.json`, the caller's own."""
    return deepcopy(_measured(names, n, prompt))


@lru_cache
def _measured(names: tuple[str, ...], n: int, prompt: str) -> dict[str, Any]:
    arms, reference = example_arms(names, n), example_arm("reference", 0.75, 48, seed=99)
    costs = {
        name: {"seconds_per_image": 0.2 if name == "vanilla" else 0.21, "guidance_share": 0.04, "peak_memory_mb": 300.0}
        for name in names
    }
    results = summarise(
        arms,
        reference,
        example_modes(reference),
        {"text": prompt, "attributes": list(CLASSES)},
        MetricSuite(),
        bootstrap=200,
        judge={"name": "EmojiJudge", "circular": False, "encoder_id": None, "classes": CLASSES},
        costs=costs,
        seeds={"collect": 0, "generate": 1},
        spaces={"encoder": {"name": "emoji_clip"}},
    )
    return {"config_hash": "0123456789abcdef", **results}


def example_images(arm: ArmData, size: int = 64) -> torch.Tensor:
    """Noise, (N, 3, size, size), blue in mode 0 and orange in mode 1."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(len(arm), 3, size, size, generator=generator)
    tints = torch.tensor([[0.1, 0.4, 0.9], [0.9, 0.6, 0.1]])[torch.from_numpy(arm.modes)]
    return (0.6 * tints[:, :, None, None] + 0.4 * noise).clamp(0, 1)


def write_job(
    root: Path, names: tuple[str, ...] = ("vanilla", "guided"), n: int = 32, prompt: str = PROMPT, size: int = 64
) -> dict[str, Any]:
    """Writes the folders of all stages before the report; returns the arguments of `report` but for `folder`."""
    arms, reference = example_arms(names, n), example_arm("reference", 0.75, 48, seed=99)
    folders = {name: root / "generate" / name for name in names}
    for name, arm in arms.items():
        _write_arm(folders[name], name, arm, example_images(arm, size), prompt)
        save_arm(root / "evaluate", arm)
    results = example_results(names, n, prompt)
    del results["config_hash"]
    write_json(root / "evaluate" / "results.json", results)
    _write_modes(root / "discover", reference, size)
    _write_projector(root / "project")
    config = {
        "collect": {"n_images": 48, "seed": 0},
        "generate": {"n_images": n, "seed": 1},
        "prompts": {"_target_": "selfdebias.config.prompts.Prompts", "text": prompt},
        "model": {"_target_": "selfdebias.backbones.stable_diffusion.StableDiffusion", "steps": 25, "scale": 3.0},
        "guidance": {"_target_": "selfdebias.guidance.self_debias.SelfDebiasGuidance", "strength": 0.8, "tau": 0.1},
        "logger": {"wandb": {"_target_": "pytorch_lightning.loggers.WandbLogger", "mode": "offline"}},
    }
    return {
        "job": {"config": config, "command": "selfdebias generate.seed=1", "config_hash": "0123456789abcdef"},
        "arms": folders,
        "collected": root / "collect",
        "discovered": root / "discover",
        "projected": root / "project",
        "evaluated": root / "evaluate",
        "images": 12,
    }


def _write_arm(path: Path, name: str, arm: ArmData, images: torch.Tensor, prompt: str) -> None:
    folder = BatchFolder(path, "key")
    rows = torch.arange(len(arm)).split(BATCH)
    start = torch.tensor([0.75, 0.25])
    for batch, chosen in enumerate(rows):
        fade = torch.linspace(1, 0, 10)[:, None] + 0.02 * batch
        p_hat = (0.5 + (start - 0.5) * fade).float() if name == "guided" else torch.zeros(0, 2)
        records = [{"seed": int(i), "prompt": prompt, "batch": batch, "blanked": False} for i in chosen]
        tensors = {"p_hat": p_hat, "edit_norm": torch.zeros(10, len(chosen)), "kl": torch.zeros(10)}
        folder.add(batch, chosen.tolist(), images[chosen], tensors, records)
    facts = {"arm": name, "dependence": "batch", "seconds_per_image": 0.2, "guidance": {}, "skipped_edits": 0}
    write_json(path / "generate.json", facts)


def _write_modes(path: Path, reference: ArmData, size: int) -> None:
    write_json(path / "modes.json", example_modes(reference))
    images = example_images(reference, size)
    for mode in range(2):
        sheet = contact_sheet(images[torch.from_numpy(reference.modes == mode)][:16], columns=8)
        path.mkdir(parents=True, exist_ok=True)
        sheet.save(path / f"mode-{mode}.png")


def _write_projector(path: Path) -> None:
    write_json(path / "project.json", {"cosine_held_out": 0.93, "accuracy_by_timestep": {"900": 0.8}})
    for step in range(0, 200, 10):
        for name, value in (("loss", float(np.exp(-step / 60))), ("cosine", 1 - 0.5 * float(np.exp(-step / 60)))):
            append_line(path / "metrics.jsonl", {"stage": "project", "step": step, "name": name, "value": value})
