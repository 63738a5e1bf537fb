"""A debiaser of a tiny pipeline, fitted once for all tests."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from selfdebias import SelfDebias
from selfdebias.modes import KMeansModes
from tests.jobs.stages.world import PixelEncoder
from tests.tiny import tiny_pipeline
from tests.transformers import CALLS, sd3

PROMPT = "a person"


def fit_tiny(pipeline: Any, **call: Any) -> SelfDebias:
    """Fit two modes on 16 images of a pipeline with random weights."""
    return SelfDebias.fit(
        pipeline, PROMPT, encoder=PixelEncoder(), n_images=16, batch_size=8, timesteps=2,
        clustering=KMeansModes(k_min=2, k_max=2, k=2, n_init=2), projector={"steps": 60},
        call={"num_inference_steps": 3, **call}, relative_scale=1.0,
    )  # fmt: skip


@lru_cache(maxsize=1)
def tiny_debiaser() -> tuple[Any, SelfDebias]:
    """The pipeline, and a debiaser of two modes that was fitted on it; random weights have no modes that mean anything."""
    pipeline = tiny_pipeline()
    return pipeline, fit_tiny(pipeline)


@lru_cache(maxsize=1)
def tiny_transformer_debiaser() -> SelfDebias:
    """Likewise of a pipeline that is shaped as Stable Diffusion 3."""
    return fit_tiny(sd3(), **CALLS["sd3"])


def write_debiaser(folder: Path) -> None:
    tiny_debiaser()[1].save_pretrained(folder)
