"""The image tower of a SigLIP or SigLIP 2 model of fixed resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from selfdebias.encoders.base import PretrainedEncoder, TextTower

HIDDEN = 768  # of SigLIP's base size, which configuration files leave out


class SiglipEncoder(TextTower, PretrainedEncoder):
    """Embeds images with a `transformers.SiglipModel`; arguments as in `PretrainedEncoder`.

    References:
        Tschannen et al., SigLIP 2, arXiv 2502.14786; Zhai et al., arXiv 2303.15343.
    """

    told = "captions of images"
    types = ("siglip",)
    padding = "max_length"  # as it was trained

    @staticmethod
    def width_in(config: Mapping[str, Any]) -> int:
        """See `PretrainedEncoder.width_in`."""
        return int(config["vision_config"].get("hidden_size", HIDDEN))

    def features(self, model: Any, pixels: Tensor) -> Tensor:
        """See `PretrainedEncoder.features`."""
        return model.get_image_features(pixel_values=pixels).pooler_output
