"""Axes in place of a partition: several attributes at once, each with two sides, found as binary factors that come back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from selfdebias.modes.estimator import IMAGE, Clustering
from selfdebias.modes.placement import AxisSides, Labels

Array = NDArray[np.float64]
STEPS, WARM, COOLING = 80, 4.0, 0.95  # of EM, which is annealed: its first temperature, and what it is multiplied by
RIDGE, RAREST = 1e-3, 0.02


class FactorialAxes(Clustering):
    """Finds axes: directions that an image has or has not, whatever its other axes say.

    A partition into clusters has to cut between whole combinations of attributes; here an image is on one of two sides of *each*
    axis. Halves of the images are described by binary factors (`fit_factors`), with several numbers of factors and from several
    starts, of which the likeliest counts. An axis is a factor that comes back: in at least `recurrence` of the runs there is one
    that divides all images as it does. Labels then come from a least-squares fit of the vectors to all axes together, so that
    an image's coordinate on one axis does not depend on its side of another.

    Args:
        factors: numbers of factors that are tried, each in [1, 8].
        variance: share in (0, 1] of the variance that the principal components hold in which factors are looked for.
        halves: random halves of the vectors that each number is tried on, at least 2.
        restarts: starts of each fit, at least 1.
        recurrence: least share of the runs, in (0, 1], that an axis comes back in.
        agreement: adjusted Rand index, in (0, 1), from which two factors divide alike.
        space: ``image``; the embeddings as they are.
        random_state: seed of all random choices, at least 0.

    Attributes:
        sides_: (N, A) int64, the side, 0 or 1, of each fitted vector; side 0 is the larger one, but for axes that are about even.
            Axes that come back more often stand first, of equals the one that agrees better. A may be 0.
        recurrence_: (A,) the share of the runs that each came back in.
        agreement_: (A,) mean adjusted Rand index between the axis and the factors that came back.
        origin_: (d,) and directions_: (A, d): ``x = origin + sides @ directions`` in the least squares.
        duals_: (A, d): ``(x - origin) @ duals.T`` are the coordinates, about 0 and 1 on the two sides.

    References:
        Ghahramani, Factorial learning and the EM algorithm, NIPS 1994; the search for what comes back is that of Himberg et al.,
        Validating the independent components of neuroimaging time series via clustering and visualization, NeuroImage 2004.
    """

    def __init__(
        self, factors: Sequence[int] = (4, 5, 6), variance: float = 0.9, halves: int = 8, restarts: int = 4,
        recurrence: float = 0.6, agreement: float = 0.5, random_state: int = 0, space: str = IMAGE,
    ):  # fmt: skip
        self.factors = factors
        self.variance = variance
        self.halves = halves
        self.restarts = restarts
        self.recurrence = recurrence
        self.agreement = agreement
        self.random_state = random_state
        self.space = space

    def _learn(self, X: Array) -> None:
        votes, self.recurrence_, self.agreement_ = self._that_come_back(*self._runs(X))
        self._place(X, votes)
        larger = self.sides_.mean(0) > 0.5
        if larger.any():
            self._place(X, np.where(larger, 1 - self.sides_, self.sides_))

    def coordinates(self, X: Array) -> Array:
        """Return the coordinates (N, A) of vectors (N, d): about 0 on side 0 and about 1 on side 1 of each axis."""
        return AxisSides(self.origin_, self.duals_).coordinates(X)

    def predict(self, X: Array) -> Labels:
        """Return the sides (N, A) int64 of vectors (N, d): 1 where the coordinate is above one half."""
        return AxisSides(self.origin_, self.duals_).sides(X)

    def _runs(self, X: Array) -> tuple[NDArray[np.bool_], Labels]:
        """Return the factors of all runs: the side of each vector, (n, N), and the run that each factor is of, (n,)."""
        components = PCA(self.variance if self.variance < 1 else None, svd_solver="full").fit_transform(X)
        components /= components.std()
        generator = np.random.default_rng(self.random_state)
        found = []
        for _ in range(self.halves):
            half = generator.permutation(len(X))[: len(X) // 2]
            for m in self.factors:
                tried = [fit_factors(components[half], m, generator) for _ in range(self.restarts)]
                best: Factors = max(tried, key=lambda it: it.likelihood)
                found.append((posteriors(components, best) > 0.5).T)
        return np.concatenate(found), np.repeat(np.arange(len(found)), [len(sides) for sides in found])

    def _that_come_back(self, sides: NDArray[np.bool_], run: Labels) -> tuple[Labels, Array, Array]:
        """Return, of the factors that come back, the majority's sides (N, A), the share of runs, and the mean agreement."""
        alike = pairwise_ari(sides)
        left, kept = np.ones(len(sides), dtype=bool), []
        while left.any():
            near = (alike > self.agreement) & left & left[:, None]
            centre = int(near.sum(1).argmax())
            members = np.flatnonzero(near[centre])
            if len(members) == 0:
                break
            left[members] = False
            kept.append(
                (len(np.unique(run[members])) / (run.max() + 1), float(alike[centre, members].mean()), centre, members)
            )
        kept = sorted((it for it in kept if it[0] >= self.recurrence), key=lambda it: (-it[0], -it[1]))
        votes = np.zeros((sides.shape[1], len(kept)), dtype=np.int64)
        for a, (_, _, centre, members) in enumerate(kept):  # factors of the opposite sign than the centre's are negated
            same = (sides[members] == sides[centre]).mean(1) >= 0.5
            votes[:, a] = np.where(same[:, None], sides[members], ~sides[members]).mean(0) > 0.5
        return votes, np.array([it[0] for it in kept]), np.array([it[1] for it in kept])

    def _place(self, X: Array, sides: Labels) -> None:
        """Fit the vectors to the sides of all axes together, and take the sides of this fit."""
        design = np.concatenate([np.ones((len(X), 1)), sides], 1)
        solved = np.linalg.lstsq(design, X, rcond=None)[0]
        self.origin_, self.directions_ = solved[0], solved[1:]
        self.duals_ = np.linalg.pinv(self.directions_).T
        self.sides_ = self.predict(X)


def pairwise_ari(sides: NDArray[np.bool_]) -> Array:
    """Return the adjusted Rand index (n, n) between divisions in two, (n, N) bool; 1 of one with itself.

    Example:
        >>> pairwise_ari(np.array([[True, True, False, False], [False, False, True, True]])).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    ones = sides.astype(np.float64)
    n = sides.shape[1]
    both = ones @ ones.T
    size = ones.sum(1)
    cells = np.stack([both, size[:, None] - both, size[None] - both, n - size[:, None] - size[None] + both])
    pairs = (cells * (cells - 1) / 2).sum(0)
    own = size * (size - 1) / 2 + (n - size) * (n - size - 1) / 2
    expected, most = own[:, None] * own[None] / (n * (n - 1) / 2), (own[:, None] + own[None]) / 2
    same = np.isclose(most, expected)  # both are one group alone
    return np.where(same, 1.0, (pairs - expected) / np.where(same, 1.0, most - expected))


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
        found = Factors(solved[0], solved[1:], shares, float(squares / n / d) + RIDGE, -np.inf)
    return found._replace(likelihood=mean_log_likelihood(x, found))


def mean_log_likelihood(x: Array, factors: Factors) -> float:
    """Return the mean log-likelihood, in nats, of vectors (N, d), such as those of the half that was not fitted."""
    log_joint = _log_joint(x, factors, _states(len(factors.directions)))
    most = log_joint.max(1)
    return float((most + np.log(np.exp(log_joint - most[:, None]).sum(1))).mean())


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
