"""Discovered modes, measured without a judge: where images fall, and how modes agree with judged attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from selfdebias.metrics import fairness
from selfdebias.metrics.features import features
from selfdebias.modes.axis_sides import AxisSides, cells_of

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class Placed(NamedTuple):
    """Embeddings `e`, (N, d), with the mode that each falls in, `modes`, (N,) int64."""

    e: Array
    modes: Labels

    def inside(self, mode: int) -> Array:
        """Return the embeddings of one mode."""
        return self.e[self.modes == mode]


NO_MODE = -1


def assign_modes(e: ArrayLike, centers: ArrayLike | AxisSides | None) -> Labels:
    """Give each embedding the mode with the nearest centre, by cosine, in the encoder's own space; of axes, its cell.

    Args:
        e: (N, d) unit embeddings.
        centers: (K, d) unit centres; axes; None where no modes are known.

    Returns:
        (N,) int64 in [0, K); the first of equally near centres. Without centres all `NO_MODE`.

    Raises:
        ValueError: if the widths differ.

    Example:
        >>> assign_modes([[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.0, 1.0]]).tolist()
        [0, 1]
    """
    if centers is None:
        return np.full(len(np.asarray(e)), NO_MODE, dtype=np.int64)
    if isinstance(centers, AxisSides):
        return cells_of(centers.sides(features(e, "e", least=0)))
    e, centers = features(e, "e", least=0), features(centers, "centers")
    if e.shape[1] != centers.shape[1]:
        raise ValueError(f"`centers` must have the width {e.shape[1]} of the embeddings, got {centers.shape[1]}.")
    return (e @ centers.T).argmax(1).astype(np.int64)


def mode_fd(f: ArrayLike, target: ArrayLike) -> Array:
    """Fairness Discrepancy of mode shares (..., K) from a target (K,), `||f - pi||_2`.

    Example:
        >>> float(mode_fd([0.5, 0.5], [0.5, 0.5]))
        0.0
    """
    return fairness.fd_hard(f, target)


def mode_kl(f: ArrayLike, target: ArrayLike) -> Array:
    """Divergence of mode shares (..., K) from a target (K,) above 0, `KL(f || pi)` in nats.

    Example:
        >>> round(float(mode_kl([1.0, 0.0], [0.5, 0.5])), 4)
        0.6931
    """
    return fairness.kl_target(f, target)


def nmi(modes: ArrayLike, labels: ArrayLike) -> float:
    """Normalised mutual information of modes and attribute labels, (N,) each, in [0, 1].

    Example:
        >>> round(nmi([0, 0, 1, 1], [1, 1, 0, 0]), 6)
        1.0
    """
    return float(normalized_mutual_info_score(np.asarray(labels), np.asarray(modes)))


def ari(modes: ArrayLike, labels: ArrayLike) -> float:
    """Adjusted Rand index of modes and attribute labels, (N,) each, at most 1; 0 is chance.

    Example:
        >>> ari([0, 0, 1, 1], [1, 1, 0, 0])
        1.0
    """
    return float(adjusted_rand_score(np.asarray(labels), np.asarray(modes)))


def mode_stability(cluster: Callable[[], Any], e: ArrayLike, seed: int, repeats: int = 5) -> float:
    """Mean agreement (ARI) of the modes that two random halves of the images give, on all images; 1 is the same modes.

    Args:
        cluster: makes an estimator with `fit` and `predict`, as scikit-learn has them.
        e: (N, d) embeddings, N >= 4.
        seed: of the halves.
        repeats: pairs of halves, at least 1.

    Raises:
        ValueError: if there are fewer than 4 rows, or `repeats` is below 1.

    Example:
        >>> from sklearn.cluster import KMeans
        >>> e = np.repeat([[1.0, 0.0], [0.0, 1.0]], 20, axis=0)
        >>> mode_stability(lambda: KMeans(2, n_init=1, random_state=0), e, seed=0)
        1.0
    """
    e = features(e, "e", least=4)
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1, got {repeats}.")
    generator = np.random.default_rng(seed)

    def once() -> float:
        halves = np.array_split(generator.permutation(len(e)), 2)
        return ari(*(cluster().fit(e[half]).predict(e) for half in halves))

    return float(np.mean([once() for _ in range(repeats)]))
