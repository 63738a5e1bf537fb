"""Binary factors of vectors: each is a sum of directions that are there or not, and noise."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEPS, WARM, COOLING = 80, 4.0, 0.95  # of EM, which is annealed: its first temperature, and what it is multiplied by
RIDGE, RAREST = 1e-3, 0.02


class Factors(NamedTuple):
    """``x = mean + sum_a b_a directions_a + noise`` with independent ``b_a`` in {0, 1} and isotropic Gaussian noise.

    Attributes:
        mean: (d,) of vectors that have none of the directions.
        directions: (m, d).
        shares: (m,) probability of each ``b_a = 1``.
        variance: of the noise, in each dimension.
        likelihood: mean log-likelihood of a fitted vector, in nats.
    """

    mean: Array
    directions: Array
    shares: Array
    variance: float
    likelihood: float


def fit_factors(x: Array, m: int, generator: np.random.Generator) -> Factors:
    """Fit by expectation maximisation over all 2^m states, from random directions and with annealing.

    Args:
        x: (N, d) vectors.
        m: number of factors, at least 1; time and memory grow with 2^m.
        generator: of the first directions.

    References:
        Ghahramani, Factorial learning and the EM algorithm, NIPS 1994.
    """
    n, d = x.shape
    states = _states(m)
    spread = np.cov(x.T).reshape(d, d) + RIDGE * np.eye(d)
    directions = generator.normal(size=(m, d)) @ np.linalg.cholesky(spread).T / np.sqrt(2)
    found = Factors(
        x.mean(0) - directions.sum(0) / 2, directions, np.full(m, 0.5), float(np.trace(spread) / d / 2), -np.inf
    )
    design = np.concatenate([np.ones((len(states), 1)), states], 1)
    for step in range(STEPS):
        log_joint = _log_joint(x, found, states)
        r = _softmax(log_joint / max(1.0, WARM * COOLING**step))
        weights = r.sum(0)
        gram = (design * weights[:, None]).T @ design + RIDGE * np.eye(m + 1)
        solved = np.linalg.solve(gram, design.T @ (r.T @ x))
        means = design @ solved
        squares = (x**2).sum() - 2 * (r.T @ x * means).sum() + (weights * (means**2).sum(1)).sum()
        shares = np.clip(weights @ states / n, RAREST, 1 - RAREST)
        found = Factors(solved[0], solved[1:], shares, float(squares / n / d) + RIDGE, _mean_log(log_joint))
    return found._replace(likelihood=_mean_log(_log_joint(x, found, states)))


def posteriors(x: Array, factors: Factors) -> Array:
    """Return the probability (N, m) that each vector (N, d) has each direction."""
    states = _states(len(factors.directions))
    return _softmax(_log_joint(x, factors, states)) @ states


def _states(m: int) -> Array:
    return np.array(list(product([0.0, 1.0], repeat=m)))


def _log_joint(x: Array, factors: Factors, states: Array) -> Array:
    """Return the log-probability (N, 2^m) of each vector together with each state."""
    means = factors.mean + states @ factors.directions
    squares = (x**2).sum(1)[:, None] - 2 * x @ means.T + (means**2).sum(1)
    prior = states @ np.log(factors.shares) + (1 - states) @ np.log(1 - factors.shares)
    return -0.5 * squares / factors.variance - 0.5 * x.shape[1] * np.log(2 * np.pi * factors.variance) + prior


def _softmax(scores: Array) -> Array:
    p = np.exp(scores - scores.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def _mean_log(log_joint: Array) -> float:
    most = log_joint.max(1)
    return float((most + np.log(np.exp(log_joint - most[:, None]).sum(1))).mean())
