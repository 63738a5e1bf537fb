"""Class shares that are corrected by the judge's error.

If a judge calls an image of class c by class j with probability `R_cj`, images of true shares `p` are judged to have
the shares `f = p R`. Given `f` and `R`, the functions here find `p`, which must be a distribution. Pure, in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.config.prompts import CROSS
from selfdebias.metrics import fairness
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.intervals import BlockBootstrap, drawn_shares
from selfdebias.metrics.number import Number, missing
from selfdebias.metrics.shares import class_sums, expanded_shares

Array = NDArray[np.float64]
SUM_TOLERANCE = 1e-6  # how far shares may be from summing to one
SINGULAR = 1e-6  # least singular value of rates that still tell the classes apart
INSIDE = 1e-12  # how far below zero an exact solution may be, by rounding
GAP = 1e-9  # log-likelihood, for each image, that a solution may fall short of the largest
MOST_ROUNDS = 20_000  # of three steps of expectation-maximisation each
_INTERIOR = 0.01  # share of the uniform distribution in the first guess: a share of exactly 0 could never grow
PRIOR = 0.5  # added to each count of the confusion matrix when it is resampled (Jeffreys): a mistake not yet seen is possible


def corrected_metrics(
    arm: ArmData, attribute: str, error: Mapping[str, Any], resampling: BlockBootstrap
) -> dict[str, Number] | Number:
    """Correct the shares of an attribute by the judge's error.

    Args:
        arm: the images.
        attribute: judged attribute, or an intersection (whose error is not known).
        error: by attribute, `counts` (C, C) of labelled images, the row being the true class; or a `reason`.
        resampling: repeats, seed and level.

    Returns:
        an entry for each class, with its interval; or one null with the reason.
    """
    if CROSS in attribute:
        return missing("an intersection is as often wrong as its parts together, and no counts of the pairs are known")
    known = error.get(attribute, {})
    if "counts" not in known:
        return missing(str(known.get("reason") or "the judge's error is not known: set evaluate.labelled"))
    classes, sums = arm.classes[attribute], class_sums(arm, attribute)
    n = round(sums.sum())
    if n == 0:
        return missing("no image is there to be counted", n=0)
    try:
        numbers = corrected_intervals(sums, known["counts"], resampling)
    except ValueError as failure:
        return missing(str(failure), n=n)
    return {name: replace(number, n=n) for name, number in zip(classes, numbers, strict=True)}


def corrected_intervals(sums: Array, counts: ArrayLike, resampling: BlockBootstrap) -> list[Number]:
    """Correct shares, and bound them: images and confusion matrix are resampled together, and the middle is kept.

    Judged shares are drawn from what their own interval says at every level (Wilson's bound at a random quantile of
    Student's t), or for more than two classes from expanded resamples of blocks; the rows of the matrix from their
    Dirichlet distributions.

    Args:
        sums: (B, C) counts of judged images in each block.
        counts: (C, C) counts of labelled images, the row being the true class.
        resampling: repeats, seed and level.

    Returns:
        one share a class; without bounds for fewer than two blocks.

    Raises:
        ValueError: if the judge tells nothing apart, so that no shares explain what it sees.
    """
    values = corrected_shares(fairness.shares(sums.sum(0)), confusion_rates(np.asarray(counts, dtype=np.float64)))
    blocks = len(sums)
    generator = np.random.default_rng([resampling.seed, 2])
    f = _resampled(sums, resampling, generator)
    if f is None:
        return [Number.unbounded(float(value), blocks) for value in values]
    drawn = generator.standard_gamma(np.asarray(counts) + PRIOR, size=(resampling.repeats, *np.shape(counts)))
    p = corrected_shares(f, confusion_rates(drawn))
    return [resampling.middle(float(value), column, blocks) for value, column in zip(values, p.T, strict=True)]


def _resampled(sums: Array, resampling: BlockBootstrap, generator: np.random.Generator) -> Array | None:
    """Draw the judged shares anew, (repeats, C); None for fewer than two blocks."""
    if sums.shape[1] > 2:
        return expanded_shares(sums, resampling) if len(sums) > 1 else None
    first = drawn_shares(np.stack([sums[:, 0], sums.sum(1)], 1), resampling.repeats, generator)
    return None if first is None else np.stack([first, 1 - first], 1)


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
