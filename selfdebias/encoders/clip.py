"""The image tower of a CLIP model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.folders import model_folder


class ClipEncoder:
    """Embeds images with a `transformers.CLIPModel`; resize, crop and normalisation are done in torch.

    Nothing is loaded before the first call.

    Args:
        pretrained: folder that holds the model and its ``preprocessor_config.json``; ``shipped:NAME`` names one that comes
            with the package.

    References:
        Radford et al., Learning transferable visual models from natural language supervision, arXiv 2103.00020.
    """

    def __init__(self, pretrained: str):
        self.pretrained = pretrained
        self._model: Any = None

    @property
    def folder(self) -> Path:
        """The folder that the model is loaded from.

        Raises:
            FileNotFoundError: if it lacks the model or the preprocessing.
            ValueError: if it has pickled weights only.
        """
        return model_folder("encoder.pretrained", self.pretrained, ("config.json", "preprocessor_config.json"))

    @property
    def encoder_id(self) -> str:
        """The name by which a judge tells whether it shares this encoder."""
        return self.pretrained

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return int(json.loads((self.folder / "config.json").read_text())["projection_dim"])

    def fingerprint(self) -> str:
        """Return the sha256 of the weight file."""
        return hashlib.sha256((self.folder / "model.safetensors").read_bytes()).hexdigest()

    def load(self) -> Any:
        """Load the frozen model once; returns it."""
        if self._model is None:
            from transformers import CLIPModel

            model = CLIPModel.from_pretrained(
                self.folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
            self._model = model.eval().requires_grad_(False)
            self._processing = json.loads((self.folder / "preprocessor_config.json").read_text())
        return self._model

    def preprocess(self, images: Tensor) -> Tensor:
        """Resize, crop and normalise images (B, 3, H, W) in [0, 1] as the model's image processor does."""
        self.load()
        size = self.model_size
        scaled = images
        if images.shape[-2:] != (size, size):
            scale = size / min(images.shape[-2:])
            resized = [round(side * scale) for side in images.shape[-2:]]
            scaled = F.interpolate(images, size=resized, mode="bicubic", antialias=True).clamp(0, 1)
            top, left = ((side - size) // 2 for side in resized)
            scaled = scaled[..., top : top + size, left : left + size]
        mean, std = (images.new_tensor(self._processing[key])[:, None, None] for key in ("image_mean", "image_std"))
        return (scaled - mean) / std

    @property
    def model_size(self) -> int:
        """Side of the square input, in pixels."""
        return int(self.load().config.vision_config.image_size)

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings (V, dim) float32 of texts, on the CPU."""
        from transformers import AutoTokenizer

        model = self.load()
        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(model.device)
        return F.normalize(model.get_text_features(**tokens).pooler_output, dim=-1).cpu()

    def __call__(self, images: Tensor) -> Tensor:
        """Return the unit embeddings.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].

        Returns:
            (B, dim) float32, each of norm 1.
        """
        model = self.load().to(images.device)
        return F.normalize(model.get_image_features(pixel_values=self.preprocess(images)).pooler_output, dim=-1)
