"""How a pipeline is loaded and called."""

from selfdebias.backbones.stable_diffusion import StableDiffusionBackbone

__all__ = ["StableDiffusionBackbone"]
