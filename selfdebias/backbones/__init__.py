"""How a pipeline is loaded and called."""

from selfdebias.backbones.pipelines import StableDiffusionBackbone, UnconditionalBackbone
from selfdebias.backbones.pretrained import HeldBackbone, SchedulerChoice
from selfdebias.backbones.transformers import TransformerBackbone

__all__ = ["HeldBackbone", "SchedulerChoice", "StableDiffusionBackbone", "TransformerBackbone", "UnconditionalBackbone"]
