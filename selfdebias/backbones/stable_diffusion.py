"""Stable-Diffusion-shaped pipelines, loaded and called unmodified."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfdebias.folders import pipeline_folder
from selfdebias.seeds import generators


class StableDiffusionBackbone:
    """A `StableDiffusionPipeline` from a local folder, called with one seed for each image.

    Nothing is loaded before `load`.

    Args:
        pretrained: folder in diffusers format; ``shipped:NAME`` names a model that comes with the package.
        steps: denoising steps, at least 1.
        guidance_scale: classifier-free guidance scale, at least 1; 1 turns it off.
        device: torch device that the pipeline is moved to, such as ``cpu`` or ``cuda``.

    Raises:
        ValueError: if `steps` or `guidance_scale` is out of range.
    """

    def __init__(self, pretrained: str, steps: int, guidance_scale: float, device: str = "cpu"):
        if steps < 1:
            raise ValueError(f"`model.steps` must be at least 1, got {steps}.")
        if not 1 <= guidance_scale < float("inf"):
            raise ValueError(f"`model.guidance_scale` must be at least 1, got {guidance_scale}.")
        self.pretrained = pretrained
        self.steps = steps
        self.guidance_scale = guidance_scale
        self.device = device

    @property
    def branches(self) -> tuple[str, ...]:
        """The stacking order of the UNet's batch."""
        return ("uncond", "cond") if self.guidance_scale > 1 else ("cond",)

    @property
    def folder(self) -> Path:
        """The folder that the pipeline is loaded from.

        Raises:
            FileNotFoundError: if a part of a pipeline is missing.
            ValueError: if a part has pickled weights only.
        """
        return pipeline_folder(self.pretrained)

    def fingerprint(self) -> str:
        """Return a sha256 over what the pipeline loads, its index and components; a card beside them is left out."""
        digest = hashlib.sha256()
        for path in [self.folder / "model_index.json", *sorted(self.folder.glob("*/*"))]:
            if path.suffix in (".safetensors", ".json", ".txt"):
                digest.update(str(path.relative_to(self.folder)).encode() + path.read_bytes())
        return digest.hexdigest()

    def load(self) -> Any:
        """Return the pipeline, in evaluation mode, float32, on the device, without a progress bar of its own."""
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline.from_pretrained(
            self.folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    def generate(self, pipeline: Any, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Sample one image for each prompt and seed.

        Args:
            pipeline: what `load` returned.
            prompts: B prompts.
            seeds: B seeds; image k depends on the prompt and seed k alone, not on the batch.

        Returns:
            (B, 3, H, W) float32 in [0, 1], on the CPU.
        """
        images = pipeline(
            list(prompts),
            num_inference_steps=self.steps,
            guidance_scale=self.guidance_scale,
            generator=generators(seeds),
            output_type="np",
        ).images
        return to_tensor(images)


def to_tensor(images: np.ndarray) -> Tensor:
    """Return a pipeline's images (B, H, W, 3) in [0, 1] as (B, 3, H, W) float32."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
