"""Which image is to have which mode, so that the counts meet the target with the least change."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

TINY = 1e-6  # images; a difference below it is one of rounding


def capacities(n: int, pi: Tensor, owed: Tensor, demand: Tensor) -> Tensor:
    """Return how many of `n` images each mode is to have: ``n pi + owed``, rounded by largest remainder.

    Args:
        n: images of the batch.
        pi: (K,) wanted shares.
        owed: (K,) float64, images that each mode got fewer than its share in earlier batches; sums to 0.
        demand: (K,) how many of the images are in each mode already; of two equal remainders the one in demand is rounded up.

    Returns:
        (K,) int64 that sum to `n`.

    Example:
        >>> half = torch.tensor([0.5, 0.5])
        >>> capacities(5, half, torch.zeros(2), torch.tensor([1.0, 4.0])).tolist()
        [2, 3]
        >>> capacities(1, half, torch.tensor([0.5, -0.5]), torch.tensor([0.0, 1.0])).tolist()
        [1, 0]
    """
    wanted = (n * exact(pi) + owed.double()).clamp(min=0)
    wanted = wanted * (n / wanted.sum())
    counts = torch.floor(wanted + TINY)
    remainder = torch.round(wanted - counts, decimals=6).numpy()
    first = np.lexsort((np.arange(len(pi)), -demand.double().numpy(), -remainder))
    counts[torch.from_numpy(first[: n - int(counts.sum())].copy())] += 1
    return counts.long()


def widened(counts: Tensor, inside: Tensor, slack: float) -> Tensor:
    """Return counts that ask for `slack` times as many images to switch as must: ``counts + (slack - 1) (counts - inside)``.

    Args:
        counts: (K,) int64, how many images each mode is to have.
        inside: (K,) how many it has now, by soft assignment; the same sum.
        slack: over-selection factor: images edited per image that must switch; 1 returns the counts themselves.

    Returns:
        (K,) int64 with the sum of `counts`.

    Example:
        >>> widened(torch.tensor([16, 16]), torch.tensor([22.0, 10.0]), 2.0).tolist()
        [10, 22]
    """
    wanted = counts.double() + (slack - 1) * (counts.double() - inside.double())
    return capacities(int(counts.sum()), wanted.clamp(min=0), torch.zeros(len(counts)), inside)


def left_over(n: int, pi: Tensor, owed: Tensor, counts: Tensor, decay: float) -> Tensor:
    """Return the rounding remainder carried to the next batch, (K,) float64, of which `decay` is kept; float errors are 0.

    Example:
        >>> left_over(5, torch.tensor([0.5, 0.5]), torch.zeros(2), torch.tensor([2, 3]), 1.0).tolist()
        [0.5, -0.5]
    """
    left = decay * (n * exact(pi) + owed.double() - counts)
    return torch.where(left.abs() < TINY, 0.0, left)


def exact(pi: Tensor) -> Tensor:
    """Return shares (K,) in float64 that sum to 1 there."""
    return pi.double() / pi.double().sum()


def assign_modes(p: Tensor, counts: Tensor) -> Tensor:
    """Give each image a mode, so that each mode gets its count and ``sum_i -log p_ik`` is smallest.

    For two modes this cuts the order of the images' scores. Among images with equal assignments the first ones get the mode
    that is likelier.

    Args:
        p: (n, K) soft assignments; a row that is not finite counts as one that has no preference.
        counts: (K,) int64 that sum to n.

    Returns:
        (n,) int64.

    References:
        The assignment is solved by `scipy.optimize.linear_sum_assignment`, exactly.

    Example:
        >>> p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
        >>> assign_modes(p, torch.tensor([2, 2])).tolist()
        [0, 1, 0, 1]
    """
    from scipy.optimize import linear_sum_assignment  # here, since it is slow to import

    likely = torch.nan_to_num(p.detach().double().cpu(), nan=1 / p.shape[1]).clamp(min=1e-30)
    cost = -torch.log(likely).numpy()
    places = np.repeat(np.arange(len(counts)), counts.numpy())
    rows, columns = linear_sum_assignment(cost[:, places])
    modes = np.empty(len(cost), dtype=np.int64)
    modes[rows] = places[columns]
    return torch.from_numpy(_ties_by_order(cost, modes))


def _ties_by_order(cost: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Sort the modes within each set of equal rows, so that what the solver left open depends on the order alone."""
    _, kinds = np.unique(cost, axis=0, return_inverse=True)
    for kind in np.unique(kinds):
        (rows,) = np.nonzero(kinds.reshape(-1) == kind)
        own = modes[rows]
        modes[rows] = own[np.lexsort((own, cost[rows[0], own]))]
    return modes
