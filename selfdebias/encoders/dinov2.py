"""DINOv2: image features that were learned without text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from selfdebias.encoders.base import PretrainedEncoder


class Dinov2Encoder(PretrainedEncoder):
    """Embeds images with the layer-normed class token of a `transformers.Dinov2Model`; arguments as in `PretrainedEncoder`.

    It has no text tower, so that modes get no words: ``vocabulary=none``.

    References:
        Oquab et al., DINOv2: Learning robust visual features without supervision, arXiv 2304.07193.
    """

    told = "images alone"
    types = ("dinov2",)

    @staticmethod
    def width_in(config: Mapping[str, Any]) -> int:
        """See `PretrainedEncoder.width_in`."""
        return int(config["hidden_size"])

    def features(self, model: Any, pixels: Tensor) -> Tensor:
        """See `PretrainedEncoder.features`."""
        return model(pixel_values=pixels).pooler_output
