"""The image tower of a CLIP model, OpenAI's or LAION's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from selfdebias.encoders.base import PretrainedEncoder, TextTower


class ClipEncoder(TextTower, PretrainedEncoder):
    """Embeds images with a `transformers.CLIPModel`; arguments as in `PretrainedEncoder`.

    References:
        Radford et al., Learning transferable visual models from natural language supervision, arXiv 2103.00020.
    """

    told = "captions of images"
    types = ("clip",)

    @staticmethod
    def width_in(config: Mapping[str, Any]) -> int:
        """See `PretrainedEncoder.width_in`."""
        return int(config["projection_dim"])

    def features(self, model: Any, pixels: Tensor) -> Tensor:
        """See `PretrainedEncoder.features`."""
        return model.get_image_features(pixel_values=pixels).pooler_output
