"""What guidance reads off `h_t` and what it wants there: projector and modes together, and the shares `pi` of the modes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from selfdebias.config.ranges import check_values
from selfdebias.guidance.base import Guidance
from selfdebias.modes.axes_bank import AxesBank
from selfdebias.modes.bank import ModeBank, ModeMeans
from selfdebias.modes.projection import SemanticProjector

UNIFORM, DEPTH = "uniform", "depth"


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


def check_target(target: Sequence[float] | str | None) -> list[float] | str | None:
    """Return the target, shares as a list.

    Raises:
        ValueError: if it is neither None nor a known name, nor a distribution over at least two modes.
    """
    shares = list(target) if isinstance(target, Iterable) and not isinstance(target, str) else target
    check_values("guidance", {"target": shares})
    return [float(share) for share in shares] if isinstance(shares, list) else shares


def wanted_shares(target: Sequence[float] | str | None, bank: ModeBank) -> Tensor:
    """Return `pi` (K,) float32.

    Args:
        target: as `check_target` returned it; None takes the bank's.
        bank: the modes.

    Raises:
        ValueError: if the bank has another number of modes, or depths are asked for and it has none.
    """
    count = len(bank.target)
    if target is None:
        return bank.target
    if target == UNIFORM:
        return torch.full((count,), 1 / count)
    if target == DEPTH:
        depths = getattr(bank, "depths", None)
        if depths is None:
            raise ValueError("`guidance.target` must be shares or uniform where modes have no depths, got depth.")
        return depth_shares(depths)
    if len(target) != count:
        raise ValueError(
            f"`guidance.target` must be {count} shares, one for each mode that was found, got {list(target)}."
        )
    return torch.tensor(target)


def depth_shares(depths: Tensor) -> Tensor:
    """Return shares by depth: ``1 / (d + 1)``, normalised.

    Args:
        depths: (K,) of the modes in their tree, at least 0.

    References:
        arXiv 2512.03749, the depth-weighted target.

    Example:
        >>> depth_shares(torch.tensor([0, 1])).tolist()
        [0.6666666865348816, 0.3333333432674408]
    """
    weights = 1 / (depths.float() + 1)
    return weights / weights.sum()


def chosen_axes(guidance: Guidance, count: int) -> list[int]:
    """Return which of `count` axes a guidance balances: those of its option `axes`, else all."""
    asked = getattr(guidance, "axes", None)
    return list(range(count)) if asked is None else list(asked)


def check_all(guidance: Guidance, semantics: Semantics | AxesSemantics) -> None:
    """Refuse semantics that a guidance cannot work with, as `Guidance.check` does; of axes each one that is balanced.

    Raises:
        ValueError: if they are incompatible, or `guidance.axes` names an axis that is not there.
    """
    if not isinstance(semantics, AxesSemantics):
        asked = getattr(guidance, "axes", None)
        if asked is not None:
            raise ValueError(
                f"`guidance.axes` must be null where modes are one partition, got {asked}: choose clustering=axes."
            )
        guidance.check(semantics)
        return
    count = len(semantics.axes)
    if guidance.passes > 1:
        raise ValueError(
            f"`guidance` must draw once for axes, got {type(guidance).__name__}, which draws twice: choose guidance=transport."
        )
    wrong = [a for a in chosen_axes(guidance, count) if a >= count]
    if wrong:
        raise ValueError(
            f"`guidance.axes` must be among the {count} that were found, 0 to {count - 1}, got {wrong[0]}: the report shows them."
        )
    for a in chosen_axes(guidance, count):
        guidance.check(semantics.axes[a])


def wanted_of_all(guidance: Guidance, semantics: Semantics | AxesSemantics) -> list[float]:
    """Return the wanted shares (K,); of axes those of their sides, one after the other, equal where an axis is not balanced."""
    target = getattr(guidance, "target", None)
    if not isinstance(semantics, AxesSemantics):
        return [float(x) for x in wanted_shares(target, semantics.bank)]
    chosen = chosen_axes(guidance, len(semantics.axes))
    own = [wanted_shares(target if a in chosen else None, it.bank) for a, it in enumerate(semantics.axes)]
    return [float(x) for x in torch.cat(own)]
