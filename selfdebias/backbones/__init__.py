"""How a pipeline is loaded and called."""

from selfdebias.backbones.pretrained import HeldBackbone, SchedulerChoice
from selfdebias.backbones.stable_diffusion import StableDiffusionBackbone
from selfdebias.backbones.unconditional import UnconditionalBackbone

__all__ = ["HeldBackbone", "SchedulerChoice", "StableDiffusionBackbone", "UnconditionalBackbone"]
