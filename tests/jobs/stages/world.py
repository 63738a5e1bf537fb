"""A whole run on a tiny random pipeline. Random weights have no modes: these runs prove the plumbing alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from selfdebias.backbones import StableDiffusionBackbone
from selfdebias.config.prompts import Prompts
from selfdebias.guidance import SelfDebiasGuidance
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.jobs.stages.collect import collect
from selfdebias.jobs.stages.discover import discover, discover_projected
from selfdebias.jobs.stages.generate import generate
from selfdebias.jobs.stages.project import project
from selfdebias.modes import SpectralModes
from selfdebias.modes.naming import NoVocabulary
from selfdebias.modes.projector_fit import ProjectorFit

TRAINER = partial(
    pl.Trainer, accelerator="cpu", inference_mode=False, logger=False, enable_checkpointing=False,
    enable_model_summary=False, enable_progress_bar=False,
)  # fmt: skip
PROMPTS = Prompts("a person", ["gender"])
STEPS = 4


class PixelEncoder:
    """A fixed random projection of the centred pixels."""

    dim, encoder_id = 6, "pixels"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        x = F.avg_pool2d(images, 4).flatten(1)
        weights = torch.randn(x.shape[1], self.dim, generator=torch.Generator().manual_seed(0))
        return F.normalize((x - 0.5) @ weights, dim=1)


def backbone(folder: Path, scale: float = 3.0) -> StableDiffusionBackbone:
    return StableDiffusionBackbone(str(folder), steps=STEPS, guidance_scale=scale)


def run_collect(model: Path, root: Path, n_images: int = 10, batch_size: int = 4, key: str = "k", **options) -> Path:
    folder = root / "collect"
    collect(
        folder, key, backbone(model), PixelEncoder(), options.get("prompts", PROMPTS), n_images=n_images, batch_size=batch_size,
        timesteps=options.get("timesteps", 2), seed=options.get("seed", 0), trainer=TRAINER,
    )  # fmt: skip
    return folder


def run_discover(root: Path) -> Path:
    folder = root / "discover"
    discover(
        folder, SpectralModes(k_min=2, k_max=3, n_neighbors=(3,)), NoVocabulary(), PixelEncoder(), root / "collect"
    )
    return folder


FIT = partial(
    ProjectorFit, reader="flattened", hidden=16, noise=0.1, temperature=0.1, steps=20, batch_size=8, learning_rate=1e-3,
    weight_decay=0.0, dropout=0.1,
)  # fmt: skip


def run_project(root: Path) -> Path:
    folder = root / "project"
    project(folder, root / "discover", PixelEncoder(), FIT, seed=0, trainer=TRAINER, collected=root / "collect")
    return folder


def run_project_first(root: Path) -> Path:
    folder = root / "project"
    project(folder, None, PixelEncoder(), FIT, seed=0, trainer=TRAINER, collected=root / "collect")
    return folder


def run_discover_projected(root: Path) -> Path:
    folder = root / "discover"
    clustering = SpectralModes(k_min=2, k_max=3, n_neighbors=(3,), space="projected")
    discover_projected(folder, root / "collect", root / "project", clustering, NoVocabulary(), PixelEncoder())
    return folder


def run_generate(model: Path, root: Path, arm: str, guidance, **options) -> Path:
    folder = root / options.get("name", arm)
    generate(
        folder, "k", arm, options.get("backbone", backbone(model)), guidance,
        GuidanceWindow(0.0, options.get("stop", 1.0)), options.get("prompts", PROMPTS),
        n_images=options.get("n_images", 6), batch_size=options.get("batch_size", 4), seed=options.get("seed", 1),
        projected=root / "project", replayed=options.get("replayed"), trainer=TRAINER, discovered=options.get("discovered"),
    )  # fmt: skip
    return folder


def guided(strength: float = 0.6, **options) -> SelfDebiasGuidance:
    return SelfDebiasGuidance(strength, 0.1, **options)
