"""A judge without training: the nearest of a few texts, in the space of an encoder that reads both images and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.config.ranges import check_values
from selfdebias.judges import Judge

Texts = Mapping[str, str]


class ClipZeroShotJudge(Judge):
    """Reads attributes off an image with ``softmax_c(cos(e, text_c) / tau)``.

    Its errors are the encoder's: measure them on labelled images before its numbers are believed.

    Args:
        encoder: images to unit vectors, with a text tower (`embed_text`); another one than the modes were found with.
        attributes: by attribute, by class, the text that stands for the class.
        templates: what the texts are put into, at ``{}``; the embeddings of all are averaged. At least one.
        temperature: `tau`, on cosines, > 0.
        threshold: an image whose largest probability is below this, in [0, 1], is *unclassified*.

    Raises:
        ValueError: if a value is out of range, an attribute has fewer than two classes, or the encoder reads no text.

    References:
        Radford et al., arXiv 2103.00020, section 3.1.
    """

    def __init__(
        self, encoder: Any, attributes: Mapping[str, Texts], templates: Sequence[str], temperature: float,
        threshold: float = 0.5,
    ):  # fmt: skip
        check_values("judge", {"threshold": threshold, "temperature": temperature})
        if not hasattr(encoder, "embed_text"):
            raise ValueError(
                f"`judge.encoder` must have a text tower, got {type(encoder).__name__}: take a CLIP or SigLIP model."
            )
        if not templates or any("{}" not in template for template in templates):
            raise ValueError(f"`judge.templates` must be texts that hold {{}}, got {list(templates)}.")
        for name, texts in attributes.items():
            if len(texts) < 2:
                raise ValueError(f"`judge.attributes.{name}` must have at least two classes, got {dict(texts)}.")
        self.encoder, self.attributes, self.templates = encoder, attributes, list(templates)
        self.temperature, self.threshold = temperature, threshold
        self.classes = {name: tuple(texts) for name, texts in attributes.items()}
        self.encoder_id = getattr(encoder, "encoder_id", None)
        self._texts: dict[str, Tensor] = {}

    def fingerprint(self) -> str:
        """Return the encoder's."""
        return str(self.encoder.fingerprint())

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return the class probabilities of each attribute.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].

        Returns:
            By attribute, (B, C) float32 that sum to one; the order is that of `classes`.
        """
        return self.from_features(self.features(images))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the encoder's unit embeddings (B, d) of images as `__call__` takes them."""
        return self.encoder(images)

    @torch.no_grad()
    def from_features(self, features: Tensor) -> dict[str, Tensor]:
        """Return what `__call__` says of the images that have these embeddings, (B, d)."""
        return {
            name: (features @ self._classes(name).to(features).T / self.temperature).softmax(dim=1)
            for name in self.attributes
        }

    def _classes(self, name: str) -> Tensor:
        """Return the unit embedding of each class (C, d), of its texts in all templates."""
        if name not in self._texts:
            texts = list(self.attributes[name].values())
            embedded = [
                self.encoder.embed_text([template.replace("{}", text) for text in texts]) for template in self.templates
            ]
            self._texts[name] = F.normalize(torch.stack(embedded).mean(dim=0), dim=1)
        return self._texts[name]
