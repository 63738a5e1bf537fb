"""How a pipeline is loaded and called."""

from selfdebias.backbones.pipelines import StableDiffusionBackbone, UnconditionalBackbone
from selfdebias.backbones.pretrained import HeldBackbone, SchedulerChoice

__all__ = ["HeldBackbone", "SchedulerChoice", "StableDiffusionBackbone", "UnconditionalBackbone"]
