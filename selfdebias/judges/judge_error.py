"""The judge's error: its confusion matrix on labelled images, and class shares that are corrected by it.

If a judge calls an image of class c by class j with probability `R_cj`, images of true shares `p` are judged to have
the shares `f = p R`. Given `f` and `R`, the functions here find `p`, which must be a distribution. Pure, in float64.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
SUM_TOLERANCE = 1e-6  # how far shares may be from summing to one
SINGULAR = 1e-6  # least singular value of rates that still tell the classes apart
INSIDE = 1e-12  # how far below zero an exact solution may be, by rounding
GAP = 1e-9  # log-likelihood, for each image, that a solution may fall short of the largest
MOST_ROUNDS = 20_000  # of three steps of expectation-maximisation each
_INTERIOR = 0.01  # share of the uniform distribution in the first guess: a share of exactly 0 could never grow


@dataclass(frozen=True)
class Confusion:
    """A judge's error on one attribute: how often images of each class were called by each, and which were left out.

    Args:
        counts: (C, C) numbers of classified images, in the order of the judge's classes; the row is the true class.
        unclassified: images that no class was sure enough of; not in `counts`, as in the shares that are corrected.
        skipped: files that could not be read.
        source: which images they were, in words.
        unread: name and reason of those files, where they are known.

    Raises:
        ValueError: if the counts are no square matrix of numbers of at least 0.

    Example:
        >>> it = Confusion([[3, 1], [0, 4]], unclassified=2, skipped=0, source="eight photos")
        >>> it.n, it.accuracy
        (8, 0.875)
    """

    counts: list[list[int]]
    unclassified: int
    skipped: int
    source: str
    unread: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.counts) for row in self.counts) or min(min(row) for row in self.counts) < 0:
            raise ValueError(f"`counts` must be a square matrix of numbers of at least 0, got {self.counts}.")

    @property
    def n(self) -> int:
        """Number of classified images."""
        return int(sum(sum(row) for row in self.counts))

    @property
    def accuracy(self) -> float:
        """Share of classified images that were called what they are; NaN where there are none."""
        return sum(row[c] for c, row in enumerate(self.counts)) / self.n if self.n else float("nan")


def confusion_counts(true: ArrayLike, predicted: ArrayLike, n_classes: int) -> Array:
    """Count how often images of each class were called by each.

    Args:
        true: (N,) integers in [0, n_classes).
        predicted: (N,) integers in [0, n_classes).
        n_classes: C, at least 2.

    Returns:
        (C, C) counts; the row is the true class.

    Raises:
        ValueError: if the lengths differ or a label is outside the list.

    Example:
        >>> confusion_counts([0, 0, 1], [0, 1, 1], 2).tolist()
        [[1.0, 1.0], [0.0, 1.0]]
    """
    labels = np.asarray(true, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if labels[0].shape != labels[1].shape or labels[0].ndim != 1:
        raise ValueError(f"`predicted` must have the shape of `true`, (N,), got {labels[1].shape}, {labels[0].shape}.")
    for name, values in zip(("true", "predicted"), labels, strict=True):
        if values.size and not 0 <= values.min() <= values.max() < n_classes:
            raise ValueError(f"`{name}` must be in [0, {n_classes}), got {values.min()} to {values.max()}.")
    pairs = labels[0] * n_classes + labels[1]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes).astype(np.float64)


def confusion_rates(counts: ArrayLike) -> Array:
    """Divide each row of confusion matrices by its sum: `R_cj`, how often an image of class c is called j.

    Args:
        counts: (..., C, C) at least 0; the row is the true class.

    Returns:
        (..., C, C) in [0, 1]; rows sum to one.

    Raises:
        ValueError: if a count is negative or a class has no image: then nothing is known of its errors.

    Example:
        >>> confusion_rates([[3, 1], [0, 2]]).tolist()
        [[0.75, 0.25], [0.0, 1.0]]
    """
    counts = np.asarray(counts, dtype=np.float64)
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2]:
        raise ValueError(f"`counts` must have shape (..., C, C), got {counts.shape}.")
    if not (counts >= 0).all():
        raise ValueError(f"`counts` must be at least 0, got {counts.min()}.")
    totals = counts.sum(-1, keepdims=True)
    if (totals == 0).any():
        empty = sorted({int(c) for c in np.nonzero(totals[..., 0] == 0)[-1]})
        raise ValueError(f"`counts` must have an image of each class, got none in row {empty[0]}: label more images.")
    return counts / totals


def corrected_shares(f: ArrayLike, rates: ArrayLike) -> Array:
    """Estimate true class shares from judged ones: the distribution `p` under which `f` is most likely.

    Maximises `sum_j f_j log (p R)_j` over `p >= 0, sum_c p_c = 1`. Where `f R^-1` is a distribution, that is the
    answer. Elsewhere judged shares lie outside what the judge's errors allow: two classes are clipped to [0, 1], which
    is the maximum; more are found by expectation-maximisation, `p_c <- p_c sum_j R_cj f_j / (p R)_j`, extrapolated,
    from the clipped inverse. It stops once no `p` can be likelier by more than `GAP` for each image, as the largest
    factor of a step shows, or after `MOST_ROUNDS`, with a warning.

    Args:
        f: (..., C) judged shares of classified images, each row summing to one; a row of NaN (no image) stays NaN.
        rates: (..., C, C) rows of `confusion_rates`; leading axes broadcast with those of `f`, so that each row may
            have a matrix of its own.

    Returns:
        (..., C) in [0, 1], rows summing to one.

    Raises:
        ValueError: if `f` or `rates` hold no distributions, the shapes do not fit, or the rates do not tell the
            classes apart: some shares give the same `f` as others.

    References:
        Teo et al., NeurIPS 2023, arXiv 2310.19297 (CLEAM: two classes). Varadhan and Roland, Scandinavian Journal of
        Statistics 35 (2008), 335-353 (the extrapolation).

    Example:
        >>> rates = [[0.9, 0.1], [0.2, 0.8]]
        >>> corrected_shares([[0.55, 0.45], [0.95, 0.05]], rates).round(6).tolist()
        [[0.5, 0.5], [1.0, 0.0]]
    """
    f, rates = _checked(f, rates)
    exact = np.einsum("...j,...jc->...c", f, np.linalg.inv(rates))
    clipped = _normalised(np.clip(exact, 0, 1)) if f.shape[-1] == 2 else _normalised(np.clip(exact, 0, None))
    outside = (exact < -INSIDE).any(-1)
    if f.shape[-1] == 2 or not outside.any():
        return clipped
    n_classes = f.shape[-1]
    f, rates = np.broadcast_to(f, exact.shape), np.broadcast_to(rates, (*exact.shape, n_classes))
    clipped[outside] = _most_likely(
        f[outside], rates[outside], (1 - _INTERIOR) * clipped[outside] + _INTERIOR / n_classes
    )
    return clipped


def _checked(f: ArrayLike, rates: ArrayLike) -> tuple[Array, Array]:
    f, rates = np.asarray(f, dtype=np.float64), np.asarray(rates, dtype=np.float64)
    if f.ndim < 1 or f.shape[-1] < 2 or rates.shape[-2:] != (f.shape[-1], f.shape[-1]):
        raise ValueError(
            f"`rates` must have shape (..., C, C) for `f` of shape (..., C), got {rates.shape}, {f.shape}."
        )
    known = f[~np.isnan(f).all(-1)]
    for name, rows in (("f", known), ("rates", rates)):
        if not (rows >= 0).all() or not (np.abs(rows.sum(-1) - 1) <= SUM_TOLERANCE).all():
            raise ValueError(f"`{name}` must have rows of at least 0 that sum to 1, got {rows.tolist()!s:.80}.")
    if np.linalg.svd(rates, compute_uv=False).min() < SINGULAR:
        raise ValueError(
            "`rates` must tell the classes apart, got a matrix whose rows depend on each other: the judge calls images "
            "of different classes alike. Label more images, or take another judge."
        )
    return f, rates


def _normalised(p: Array) -> Array:
    return p / p.sum(-1, keepdims=True)


def _most_likely(f: Array, rates: Array, start: Array) -> Array:
    """Maximise the likelihood of each row: f (M, C), rates (M, C, C), start (M, C), all of it positive."""
    p, open_rows = start.copy(), np.arange(len(f))
    gap = np.zeros(len(f))
    for _ in range(MOST_ROUNDS):
        f_now, rates_now = f[open_rows], rates[open_rows]
        p[open_rows], gap[open_rows] = _round(f_now, rates_now, p[open_rows])
        open_rows = open_rows[gap[open_rows] > GAP]
        if not len(open_rows):
            return p
    warnings.warn(
        f"{len(open_rows)} corrected shares are short of the largest log-likelihood by up to {gap[open_rows].max():.1e} "
        f"an image after {MOST_ROUNDS} rounds: the judge hardly tells some classes apart.",
        RuntimeWarning,
        stacklevel=3,
    )
    return p


def _round(f: Array, rates: Array, p: Array) -> tuple[Array, Array]:
    """Take two steps, extrapolate them, and take a third from there, unless that is less likely: (p, gap before it)."""
    once, gap = _step(f, rates, p)
    twice, _ = _step(f, rates, once)
    r, v = once - p, twice - 2 * once + p
    length = np.linalg.norm(r, axis=1), np.linalg.norm(v, axis=1)
    a = np.maximum(1, np.divide(*length, out=np.ones(len(f)), where=length[1] > 0))[:, None]
    far = np.maximum(p + 2 * a * r + a**2 * v, 0.01 * twice)  # kept positive
    far, _ = _step(f, rates, _normalised(far))
    better = _log_likelihood(f, rates, far) >= _log_likelihood(f, rates, twice)
    return np.where(better[:, None], far, twice), gap


def _step(f: Array, rates: Array, p: Array) -> tuple[Array, Array]:
    """One step of expectation-maximisation, and by how much `p` may fall short of the largest log-likelihood.

    The log-likelihood is concave and its gradient at `p` is the factor of each class, whose mean under `p` is one: no
    other distribution can be likelier by more than the largest factor less one.
    """
    q = np.einsum("nc,ncj->nj", p, rates)
    factor = np.einsum("ncj,nj->nc", rates, np.divide(f, q, out=np.zeros_like(q), where=f > 0))
    return p * factor, factor.max(1) - 1


def _log_likelihood(f: Array, rates: Array, p: Array) -> Array:
    q = np.einsum("nc,ncj->nj", p, rates)
    return (f * np.log(np.where(f > 0, q, 1))).sum(1)
