"""A world whose semantics are known in closed form: `phi` reads the mean of channel 0 and 1 as a direction on the circle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfdebias.backbones.hspace import Step
from selfdebias.guidance import Guidance, GuidanceState, Semantics
from selfdebias.modes import ModeBank
from selfdebias.modes.classifier import ActivationClassifier
from selfdebias.modes.means import ModeMeans

BRANCHES = ("uncond", "cond")


class CircleProjector(nn.Module):
    """`z` = the unit vector of the channel means of channels 0 and 1."""

    dim, branches, encoder = 2, BRANCHES, ""
    relative_to, reader, blocks = "activation", "flattened", None

    def forward(self, h: Tensor, timestep: Tensor, branch: Tensor) -> Tensor:
        return F.normalize(h[:, :2].mean(dim=(2, 3)), dim=-1)


def circle_state(target: tuple[float, ...] = (0.5, 0.5)) -> GuidanceState:
    """Two modes: channel 0 and channel 1, in the projector's output, in the activations, and in their classifier's eyes."""
    centroids = torch.eye(2).expand(2, 1, 2, 2).contiguous()
    bank = ModeBank(BRANCHES, torch.tensor([500.0]), centroids, torch.tensor([3.0, 1.0]), torch.tensor(target))
    towards = torch.tensor([0.5, -0.5, 0.0])[:, None, None].expand(3, 2, 2)
    means = ModeMeans(torch.tensor([500.0]), torch.stack([towards, -towards])[None])
    weights = torch.eye(2, 3)[:, :, None, None].expand(2, 1, 2, 3, 2, 2)
    classifier = ActivationClassifier(torch.tensor([500.0]), weights, torch.zeros(2, 1, 2))
    return GuidanceState(Semantics(CircleProjector(), bank, means, classifier))


def activations(angles: list[float], seed: int = 0) -> Tensor:
    """`h` of both branches, (2 B, 3, 2, 2); the conditional half points to these angles (radians)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(angles), 3, 2, 2, generator=generator)
    noise[:, :2] -= noise[:, :2].mean(dim=(2, 3), keepdim=True)
    a = torch.tensor(angles)
    noise[:, 0] += a.cos()[:, None, None]
    noise[:, 1] += a.sin()[:, None, None]
    return torch.cat([torch.randn(noise.shape, generator=generator), noise])


def step(index: int = 0, scale: float = 3.0) -> Step:
    return Step(
        timestep=500.0, index=index, count=4, branches=BRANCHES if scale > 1 else ("cond",), guidance_scale=scale
    )


def begin(guidance: Guidance, state: GuidanceState, seeds: tuple[int, ...], h: Tensor, scale: float = 3.0) -> None:
    """Begin a call."""
    state.begin("a person", seeds)
