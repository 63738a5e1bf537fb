"""On which branch of classifier-free guidance an edit acts, and how much it then counts in the prediction."""

from __future__ import annotations

import torch
from torch import Tensor

RULES = {"cond": (0.0, 1.0), "both": (1.0, 1.0), "contrast": (-1.0, 1.0)}  # signs on the uncond and the cond branch
EACH = "each"  # no sign: the rows of each branch have an edit of their own


def check_rule(rule: str, *others: str) -> None:
    """Raise a ValueError for a rule that is neither among `RULES` nor the others."""
    if rule not in (*RULES, *others):
        raise ValueError(f"`guidance.branch` must be one of {', '.join((*RULES, *others))}, got {rule!r}.")


def branch_gain(rule: str, guidance_scale: float) -> float:
    """Return how much an edit counts in the guided prediction ``(1 - w) eps_u + w eps_c``.

    Args:
        rule: ``cond`` (the conditional branch), ``both``, or ``contrast`` (opposite edits).
        guidance_scale: w, at least 1; 1 where there is no guidance.

    Returns:
        w, 1 or 2 w - 1; 1 without guidance.

    Example:
        >>> [branch_gain(rule, 3.0) for rule in ("cond", "both", "contrast")]
        [3.0, 1.0, 5.0]
    """
    uncond, cond = RULES[rule]
    return uncond * (1 - guidance_scale) + cond * guidance_scale


def add_edit(h: Tensor, edit: Tensor, rule: str, branches: tuple[str, ...]) -> Tensor:
    """Add an edit of the conditional branch (B, C, H, W) to the stacked activation, by the rule."""
    if branches == ("cond",):
        return h + edit
    uncond, cond = RULES[rule]
    return h + torch.cat([uncond * edit, cond * edit])
