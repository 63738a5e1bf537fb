"""Vendi score: how many different images a set holds, by the similarities within it alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigvalsh
from scipy.special import entr

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.features import features
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.metric import MetricSuite, ReferenceMetric
from selfdebias.metrics.number import NO_INTERVAL, Number


def vendi_score(x: ArrayLike) -> float:
    """Exponential of the von Neumann entropy of the normalised similarity matrix, `exp(-sum_i l_i log l_i)`.

    `l_i` are the eigenvalues of K / N, with the cosine of images i and j at K_ij; those that are not 0 are the eigenvalues of the
    smaller matrix `sum_i x_i x_i^T / N` too, where there are more images than features.

    Args:
        x: (N, d) features, N >= 1; their lengths do not matter.

    Returns:
        from 1, where all images are alike, to min(N, d).

    Raises:
        ValueError: if there is no image, or a row is 0 and has no direction.

    References:
        Friedman and Dieng, The Vendi Score, arXiv 2210.02410.

    Example:
        >>> round(vendi_score([[1.0, 0.0], [2.0, 0.0]]), 6), round(vendi_score([[1.0, 0.0], [0.0, 3.0]]), 6)
        (1.0, 2.0)
    """
    x = features(x, "x").astype(np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("`x` must have no row of zeros, which has no direction.")
    unit = x / lengths
    similarities = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    return float(np.exp(entr(eigvalsh(similarities / len(unit)).clip(0)).sum()))


def _measure(arm: ArmData, _reference: ArmData, _suite: MetricSuite, _resampling: BlockBootstrap | None) -> Number:
    return Number(vendi_score(arm.compared), reason=NO_INTERVAL)


VENDI = ReferenceMetric(
    key="vendi",
    title="Vendi score",
    meaning="how many different images there are among the arm's own (the reference does not count), by the cosines of their "
    "features: from 1, all alike, to N or the width of the features; it grows with N.",
    measure=_measure,
    better="higher",
    interval=False,
    labelled=True,
    in_sweeps=False,
)
