"""Shares of the modes: those that are wanted, and how far others are from them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.guidance.base import Method, chosen_axes
from selfdebias.modes.bank import ModeBank
from selfdebias.modes.semantics import AxesSemantics, Semantics

EPSILON = 1e-12
UNIFORM, DEPTH = "uniform", "depth"


def kl_divergence(p_hat: Tensor, pi: Tensor) -> float:
    """Return ``KL(p_hat || pi)`` in nats, at least 0: in float32 it can come out slightly negative.

    Example:
        >>> round(kl_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])), 4)
        0.6931
    """
    p_hat = p_hat.clamp(min=EPSILON)
    return max(float((p_hat * torch.log(p_hat / pi)).sum()), 0.0)


def wanted_shares(target: Sequence[float] | str | None, bank: ModeBank) -> Tensor:
    """Return `pi` (K,) float32.

    Args:
        target: as in `SoftAssignmentGuidance`; by depth d they are ``1 / (d + 1)``, normalised.
        bank: the modes.

    Raises:
        ValueError: if the bank has another number of modes.

    References:
        arXiv 2512.03749, the depth-weighted target.
    """
    count = len(bank.target)
    if target is None:
        return bank.target
    if target == UNIFORM:
        return torch.full((count,), 1 / count)
    if target == DEPTH:
        weights = 1 / (bank.depths.float() + 1)
        return weights / weights.sum()
    if len(target) != count:
        raise ValueError(
            f"`guidance.target` must be {count} shares, one for each mode that was found, got {list(target)}."
        )
    return torch.tensor(target)


def wanted_of_all(guidance: Method, semantics: Semantics | AxesSemantics) -> list[float]:
    """Return the wanted shares (K,); of axes those of their sides, one after the other, equal where an axis is not balanced."""
    if not isinstance(semantics, AxesSemantics):
        return [float(x) for x in wanted_shares(guidance.target, semantics.bank)]
    chosen = chosen_axes(guidance, len(semantics.axes))
    own = [wanted_shares(guidance.target if a in chosen else None, it.bank) for a, it in enumerate(semantics.axes)]
    return [float(x) for x in torch.cat(own)]
