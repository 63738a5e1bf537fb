"""Guidance: how `h_t` is edited while a pipeline samples. One method a file, and those that it is compared with in `baselines`."""

from selfdebias.guidance.base import AttributePrompts, Guidance, NoGuidance
from selfdebias.guidance.baselines import MeanDifferenceGuidance, MeanTransportGuidance, RandomGuidance
from selfdebias.guidance.cads import CadsGuidance
from selfdebias.guidance.classifier import ClassifierGuidance
from selfdebias.guidance.dc import DcGuidance
from selfdebias.guidance.gradient_descent import GradientDescentGuidance, InterleavedGuidance
from selfdebias.guidance.particle import ParticleGuidance
from selfdebias.guidance.resample import Resample
from selfdebias.guidance.schedules import CosineSchedule, GuidanceWindow, LinearSchedule, SignalToNoiseSchedule
from selfdebias.guidance.select import Select
from selfdebias.guidance.selection import Selection
from selfdebias.guidance.self_debias import SelfDebiasGuidance
from selfdebias.guidance.state import GuidanceState, MethodState
from selfdebias.guidance.transport import TransportGuidance
from selfdebias.modes.semantics import Semantics

__all__ = [
    "AttributePrompts", "CadsGuidance", "ClassifierGuidance", "CosineSchedule", "DcGuidance", "GradientDescentGuidance", "Guidance",
    "GuidanceState", "GuidanceWindow", "InterleavedGuidance", "LinearSchedule", "MeanDifferenceGuidance",
    "MeanTransportGuidance", "MethodState", "NoGuidance", "ParticleGuidance", "RandomGuidance", "Resample",
    "Select", "Selection", "SelfDebiasGuidance", "Semantics", "SignalToNoiseSchedule",
    "TransportGuidance",
]  # fmt: skip
