"""How far class shares lie from a target: pure functions in float64, and the value a fair sampler would have.

`f` is always a vector of shares over a *fixed* class list, along the last axis, so a whole bootstrap goes through one
call. A class that never occurs has the share 0 and stays in the vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr
from scipy.stats import binom

Array = NDArray[np.float64]
METRICS = ("fd_soft", "fd_hard", "deviation_ratio", "kl_uniform", "entropy_norm", "gap")
_MONTE_CARLO_REPEATS = 20_000


def shares(counts: ArrayLike) -> Array:
    """Divide counts (or sums of probabilities), (..., C), by their sum over the classes.

    A row without any count gives a row of NaN: it has no shares.

    Example:
        >>> shares([3, 0, 1]).tolist()
        [0.75, 0.0, 0.25]
    """
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum(-1, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def uniform(n_classes: int) -> Array:
    """Return the uniform target over `n_classes` classes, (C,)."""
    if n_classes < 2:
        raise ValueError(f"`n_classes` must be at least 2, got {n_classes}.")
    return np.full(n_classes, 1 / n_classes)


def checked_target(target: ArrayLike, n_classes: int, positive: bool = False) -> Array:
    """Return `target` as (C,) float64, refusing what is not a distribution over the classes.

    Raises:
        ValueError: on a wrong length, a negative entry (or a zero, where `positive`), or a sum other than 1.
    """
    target = np.asarray(target, dtype=np.float64)
    if target.shape != (n_classes,):
        raise ValueError(f"`target` must have {n_classes} entries, got shape {target.shape}.")
    if (target < 0).any() or abs(target.sum() - 1) > 1e-6:
        raise ValueError(f"`target` must be non-negative and sum to 1, got {target.tolist()}.")
    if positive and (target == 0).any():
        raise ValueError(f"`target` must be above 0 for each class, got {target.tolist()}.")
    return target


def fd_hard(f: ArrayLike, target: ArrayLike | None = None) -> Array:
    """Fairness Discrepancy of hard shares, `||f - u||_2`.

    Args:
        f: (..., C) shares of the labels.
        target: (C,) distribution `u`; uniform by default.

    Returns:
        (...,) distances in [0, sqrt(2)).

    Example:
        >>> round(float(fd_hard([0.75, 0.25])), 4)
        0.3536
    """
    f = np.asarray(f, dtype=np.float64)
    u = uniform(f.shape[-1]) if target is None else checked_target(target, f.shape[-1])
    return np.sqrt(np.square(f - u).sum(-1))


def deviation_ratio(f: ArrayLike) -> Array:
    """Largest deviation from 1/C as a share of the largest possible, `max_c |f_c - 1/C| / (1 - 1/C)`.

    Example:
        >>> float(deviation_ratio([0.75, 0.25]))
        0.5
    """
    f = np.asarray(f, dtype=np.float64)
    u = uniform(f.shape[-1])
    return np.abs(f - u).max(-1) / (1 - u[0])


def entropy(f: ArrayLike) -> Array:
    """Entropy `H(f) = -sum_c f_c log f_c` in nats, with 0 log 0 = 0, of (..., C) shares."""
    f = np.asarray(f, dtype=np.float64)
    return -rel_entr(f, 1.0).sum(-1)


def kl_uniform(f: ArrayLike) -> Array:
    """Divergence from uniform in nats, `KL(f || u) = log C - H(f)`.

    Example:
        >>> round(float(kl_uniform([1.0, 0.0])), 4)
        0.6931
    """
    f = np.asarray(f, dtype=np.float64)
    return np.maximum(np.log(f.shape[-1]) - entropy(f), 0.0)


def kl_target(f: ArrayLike, target: ArrayLike) -> Array:
    """Divergence from a target in nats, `KL(f || u) = sum_c f_c log(f_c / u_c)`, where each `u_c > 0`.

    Example:
        >>> round(float(kl_target([0.9, 0.1], [0.9, 0.1])), 4)
        0.0
    """
    f = np.asarray(f, dtype=np.float64)
    u = checked_target(target, f.shape[-1], positive=True)
    return np.maximum(rel_entr(f, u).sum(-1), 0.0)


def entropy_norm(f: ArrayLike) -> Array:
    """Entropy as a share of the largest possible, `H(f) / log C`, in [0, 1]; 1 is fair.

    Example:
        >>> float(entropy_norm([0.5, 0.5, 0.0, 0.0]))
        0.5
    """
    f = np.asarray(f, dtype=np.float64)
    return entropy(f) / np.log(f.shape[-1])


def gap(f: ArrayLike) -> Array:
    """Signed `f_a - f_b` for two classes, `max_c f_c - min_c f_c` for more.

    Example:
        >>> float(gap([0.25, 0.75])), float(gap([0.5, 0.25, 0.25]))
        (-0.5, 0.25)
    """
    f = np.asarray(f, dtype=np.float64)
    return f[..., 0] - f[..., 1] if f.shape[-1] == 2 else f.max(-1) - f.min(-1)


def metric_function(metric: str, target: Sequence[float] | None = None) -> Callable[[ArrayLike], Array]:
    """Return the function of shares behind a metric's key.

    Raises:
        ValueError: if there is no such key, or `kl_target` comes without a target.
    """
    plain: dict[str, Callable[[ArrayLike], Array]]
    plain = {"deviation_ratio": deviation_ratio, "kl_uniform": kl_uniform, "entropy_norm": entropy_norm, "gap": gap}
    against: dict[str, Callable[..., Array]] = {"fd_soft": fd_hard, "fd_hard": fd_hard, "kl_target": kl_target}
    if metric in plain:
        return plain[metric]
    if metric not in against:
        raise ValueError(f"`metric` must be one of {sorted(plain | against)}, got {metric!r}.")
    if metric == "kl_target" and target is None:
        raise ValueError("`target` must be given for `kl_target`, got None.")
    return lambda f: against[metric](f, target)


def range_of(metric: str, n_classes: int, target: Sequence[float] | None = None) -> tuple[float, float]:
    """Return the least and the largest value that a metric can take; distances are largest where one class has all.

    Example:
        >>> range_of("gap", 2), range_of("deviation_ratio", 5), round(range_of("fd_hard", 2)[1], 3)
        ((-1.0, 1.0), (0.0, 1.0), 0.707)
    """
    if metric in ("gap", "entropy_norm"):
        return (-1.0 if metric == "gap" and n_classes == 2 else 0.0), 1.0
    return 0.0, float(metric_function(metric, target)(np.eye(n_classes)).max())


def best_shares(metric: str, n_classes: int, target: Sequence[float] | None = None) -> Array | None:
    """Return the shares at which a metric is best: the target, uniform by default; None for the signed gap of two.

    Example:
        >>> best_shares("gap", 2) is None, best_shares("fd_hard", 2).tolist()
        (True, [0.5, 0.5])
    """
    if metric == "gap" and n_classes == 2:
        return None
    return uniform(n_classes) if target is None else checked_target(target, n_classes)


@lru_cache(maxsize=1024)
def expected_floor(
    metric: str, n_classes: int, n: int, target: tuple[float, ...] | None = None, seed: int = 0
) -> float:
    """Expected value of a metric for a perfectly fair sampler of `n` independent images.

    Two classes: the exact sum over the binomial counts; more: the mean of 20,000 seeded multinomial draws. `gap` of
    two classes is signed and has mean 0, so its floor is that of `|gap|`. `fd_soft` is taken with a judge that is
    always certain, which bounds it from above. `entropy_norm` is the one whose "floor" is a ceiling below 1.

    Args:
        metric: a key of `METRICS`, or `kl_target`.
        n_classes: C, at least 2.
        n: number of images, at least 1.
        target: the distribution that the sampler draws from and is held against; uniform by default.
        seed: of the multinomial draws.

    Example:
        >>> round(expected_floor("fd_hard", 2, 128), 3), round(expected_floor("deviation_ratio", 2, 128), 3)
        (0.05, 0.07)
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1, got {n}.")
    u = uniform(n_classes) if target is None else checked_target(target, n_classes)
    function = metric_function(metric, target)
    if n_classes == 2:
        first = np.arange(n + 1)
        values, weights = function(np.stack([first, n - first], -1) / n), binom.pmf(first, n, u[0])
    else:
        draws = np.random.default_rng(seed).multinomial(n, u, size=_MONTE_CARLO_REPEATS)
        values, weights = function(draws / n), np.full(_MONTE_CARLO_REPEATS, 1 / _MONTE_CARLO_REPEATS)
    return float(np.dot(weights, np.abs(values)))
