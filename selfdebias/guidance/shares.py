"""The wanted shares of the modes, `pi`: given, equal, or by the modes' depths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.modes.bank import ModeBank

UNIFORM, DEPTH = "uniform", "depth"


def check_target(target: Sequence[float] | str | None) -> list[float] | str | None:
    """Return the target, shares as a list.

    Raises:
        ValueError: if it is neither None nor a known name, nor a distribution over at least two modes.
    """
    if target is None or (isinstance(target, str) and target in (UNIFORM, DEPTH)):
        return target if target is None else str(target)
    try:
        numbers = [] if isinstance(target, str) or any(isinstance(share, bool) for share in target) else target
        shares = [float(share) for share in numbers]
    except (TypeError, ValueError):  # no list, or not of numbers
        shares = []
    if len(shares) < 2 or not all(0 <= share <= 1 for share in shares) or not abs(sum(shares) - 1) <= 1e-5:
        raise ValueError(
            f"`guidance.target` must be at least two shares in [0, 1] that sum to 1, {UNIFORM} or {DEPTH}, got "
            f"{shares or target}."
        )
    return shares


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
