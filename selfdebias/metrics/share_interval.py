"""Closed-form intervals of shares and of means over images that come in blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from selfdebias.metrics.bootstrap import Interval

Array = NDArray[np.float64]
ROUNDING = 0.25  # least variance of a block's count: it is a whole number, so its mean is not known better than that


class SharePrecision(NamedTuple):
    """A share `p`, and how many independent images would tell it as well as these `blocks` do: `effective`."""

    p: float
    effective: float
    blocks: int

    def bound(self, q: ArrayLike) -> Array:
        """Return Wilson's bound at q standard errors: `(p + q^2/2n + q sqrt(p (1-p)/n + q^2/4n^2)) / (1 + q^2/n)`."""
        q, n = np.asarray(q, dtype=np.float64), self.effective
        root = np.sqrt(self.p * (1 - self.p) / n + np.square(q) / (4 * n**2))
        return ((self.p + np.square(q) / (2 * n) + q * root) / (1 + np.square(q) / n)).clip(0, 1)


def share_precision(sums: ArrayLike) -> SharePrecision:
    """Estimate a share and its effective number of images, `n p (1 - p) / V`, from the scatter of the blocks.

    `V = B/(B-1) sum_b (s_b - p n_b)^2 / n`, at least what a whole number leaves open: batches that are balanced to
    the image all show the same count, and yet the share behind them is not known exactly.

    Args:
        sums: (B, 2): of each block the count (or sum of probabilities) `s_b`, and its images `n_b`; blocks without an
            image count not.

    Raises:
        ValueError: if there are fewer than two blocks with images.

    References:
        Kish, Survey Sampling, 1965 (design effect).

    Example:
        >>> share_precision([[1, 1], [0, 1], [1, 1], [0, 1]])._replace(effective=3)
        SharePrecision(p=0.5, effective=3, blocks=4)
    """
    sums = _with_images(sums)
    if len(sums) < 2:
        raise ValueError(f"`sums` must have at least two blocks with images, got {len(sums)}.")
    n = sums[:, 1].sum()
    p = min(max(sums[:, 0].sum() / n, 0.0), 1.0)
    spread = p * (1 - p)
    if spread == 0:
        return SharePrecision(p, n, len(sums))
    scatter = len(sums) / (len(sums) - 1) * np.square(sums[:, 0] - p * sums[:, 1]).sum()
    rounding = np.minimum(ROUNDING, sums[:, 1] * spread).sum()
    return SharePrecision(float(p), float(n * n * spread / max(scatter, rounding)), len(sums))


def share_interval(sums: ArrayLike, level: float = 0.95) -> Interval:
    """Bound a share by Wilson's interval at the effective number of images, with Student's t for the blocks.

    Args:
        sums: (B, 2), as for `share_precision`.
        level: coverage aimed at, in (0, 1).

    Returns:
        the interval; without bounds for fewer than two blocks.

    References:
        Wilson, 1927; Dean and Pagano, Evaluating Confidence Interval Methods for Binomial Proportions in Clustered
        Surveys, 2015. Its coverage under dependence: experiments/results/coverage.md.

    Example:
        >>> interval = share_interval([[16, 32], [17, 32], [15, 32], [18, 32]])
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.452, 0.579)
    """
    sums = _with_images(sums)
    if len(sums) < 2:
        return Interval(None, None, len(sums))
    found = share_precision(sums)
    q = float(student.ppf((1 + level) / 2, found.blocks - 1))
    low, high = found.bound([-q, q])
    return Interval(float(low), float(high), found.blocks)


def drawn_shares(sums: ArrayLike, repeats: int, generator: np.random.Generator) -> Array | None:
    """Draw shares from what `share_interval` says at every level: its bound at a random quantile of Student's t.

    Args:
        sums: (B, 2), as for `share_precision`.
        repeats: number of draws.
        generator: of the quantiles.

    Returns:
        (repeats,) in [0, 1]; None for fewer than two blocks with images.
    """
    if len(_with_images(sums)) < 2:
        return None
    found = share_precision(sums)
    return found.bound(generator.standard_t(found.blocks - 1, size=repeats))


def mean_interval(sums: ArrayLike, level: float = 0.95) -> Interval:
    """Bound a mean `sum_b v_b / sum_b n_b` by its linearised scatter over blocks, with Student's t.

    Args:
        sums: (B, 2): of each block the sum of values `v_b`, and its images `n_b`; blocks without an image count not.
        level: coverage aimed at, in (0, 1).

    Returns:
        the interval; without bounds for fewer than two blocks with images.

    Example:
        >>> interval = mean_interval([[1.0, 1], [2.0, 1], [3.0, 1]])
        >>> round(interval.low, 2), round(interval.high, 2), interval.blocks
        (-0.48, 4.48, 3)
    """
    sums = _with_images(sums)
    blocks = len(sums)
    if blocks < 2:
        return Interval(None, None, blocks)
    n = sums[:, 1].sum()
    mean = sums[:, 0].sum() / n
    error = np.sqrt(blocks / (blocks - 1) * np.square(sums[:, 0] - mean * sums[:, 1]).sum()) / n
    width = float(student.ppf((1 + level) / 2, blocks - 1)) * error
    return Interval(float(mean - width), float(mean + width), blocks)


def _with_images(sums: ArrayLike) -> Array:
    sums = np.asarray(sums, dtype=np.float64)
    if sums.ndim != 2 or sums.shape[1] != 2:
        raise ValueError(f"`sums` must have shape (B, 2), got {sums.shape}.")
    return sums[sums[:, 1] > 0]
