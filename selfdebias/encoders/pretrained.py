"""Encoders that others trained, by `transformers`: the image towers of CLIP and SigLIP, and DINOv2."""

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
