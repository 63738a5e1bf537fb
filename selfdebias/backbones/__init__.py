"""How a pipeline is loaded and called."""

from selfdebias.backbones.held import HeldBackbone
from selfdebias.backbones.stable_diffusion import StableDiffusionBackbone

__all__ = ["HeldBackbone", "StableDiffusionBackbone"]
