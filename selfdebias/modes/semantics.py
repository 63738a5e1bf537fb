"""What is read off `h_t`: projector and modes together, of one partition or of several axes."""

from __future__ import annotations

import torch
from torch import Tensor

from selfdebias.modes.axes_bank import AxesBank
from selfdebias.modes.bank import ModeBank, ModeMeans
from selfdebias.modes.projection import SemanticProjector


class Semantics:
    """Reads the modes off a bottleneck activation: projector and bank together.

    Args:
        projector: `phi`, frozen.
        bank: the modes, in the space that the projector maps to.
        means: the modes in the activations themselves; None where they were not fitted.

    Raises:
        ValueError: if projector and bank do not fit.
    """

    def __init__(self, projector: SemanticProjector, bank: ModeBank, means: ModeMeans | None = None):
        if projector.dim != bank.centroids.shape[-1] or projector.branches != bank.branches:
            raise ValueError(
                f"`bank` must have width {projector.dim} and branches {projector.branches}, "
                f"got {bank.centroids.shape[-1]} and {bank.branches}: refit both together."
            )
        if projector.encoder != bank.encoder:
            raise ValueError(
                f"`bank` must be of the projector's encoder, {projector.encoder!r}, got one of {bank.encoder!r}: refit both "
                f"together."
            )
        self.projector = projector
        self.bank = bank
        self.means = means

    def assign(self, h: Tensor, timestep: float, branch: str, temperature: float, own: Tensor | None = None) -> Tensor:
        """Return ``p_ik = softmax_k(score_ik / tau)``, (B, K) float32, differentiable in `h`.

        A score is ``cos(phi(h_i, t), c_k)``; of a carried bank, what `ModeBank.scores` makes of it.

        Args:
            h: (B, C, H, W) activations.
            timestep: training timestep.
            branch: ``uncond`` or ``cond``: whose centroids they are held against.
            temperature: `tau`, > 0.
            own: (B,) int64, the branch that each activation is of, as an index into the bank's; None: `branch`.
        """
        self.projector.to(h.device)
        t = torch.full((len(h),), timestep, device=h.device)
        if own is None:
            own = torch.full((len(h),), self.bank.branches.index(branch), device=h.device)
        z = self.projector(h, t, own)
        return torch.softmax(self.bank.scores(z, timestep, branch) / temperature, dim=1)

    def of_prompt(self, prompt: str) -> Semantics:
        """Return the semantics of one prompt; see `ModeBank.of_prompt`."""
        bank = self.bank.of_prompt(prompt)
        return self if bank is self.bank else Semantics(self.projector, bank, self.means)


class AxesSemantics:
    """Reads several axes off a bottleneck activation: one projector, and a bank of two modes for each axis.

    Args:
        projector: `phi`, frozen.
        bank: the axes, in the space that the projector maps to.
        means: the sides in the activations themselves, those of one axis after the other; None where they were not fitted.

    Attributes:
        axes: the semantics of each axis.

    Raises:
        ValueError: if projector and bank do not fit.
    """

    def __init__(self, projector: SemanticProjector, bank: AxesBank, means: ModeMeans | None = None):
        own = [None if means is None else means.only(slice(2 * a, 2 * a + 2)) for a in range(len(bank.axes))]
        self.axes = tuple(Semantics(projector, it, mean) for it, mean in zip(bank.axes, own, strict=True))
        self.projector, self.bank, self.means = projector, bank, means

    def of_prompt(self, prompt: str) -> AxesSemantics:
        """Return itself: axes hold for every prompt."""
        return self
