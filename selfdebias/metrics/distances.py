"""Distances between the features of two sets of images: Frechet distance, and the kernel distances KID and CMMD, in float64."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, eigvalsh

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.features import chunks, features, paired
from selfdebias.metrics.intervals import BlockBootstrap, Draws
from selfdebias.metrics.metric import Kernel, MetricSuite, ReferenceMetric
from selfdebias.metrics.number import NO_INTERVAL, Number

Array = NDArray[np.float64]


def moments(x: ArrayLike) -> tuple[Array, Array]:
    """Accumulate mean (d,) and unbiased covariance (d, d) of (N, d) features, N >= 2, chunk by chunk in float64.

    The features may be float32. Each chunk is shifted by the mean of the first one, so that a large mean costs no digits.

    Example:
        >>> moments([[1.0, 0.0], [3.0, 0.0]])[1].tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """
    x = features(x, least=2)
    shift = x[next(chunks(len(x)))].mean(0, dtype=np.float64)
    total, outer = np.zeros(len(shift)), np.zeros((len(shift), len(shift)))
    for rows in chunks(len(x)):
        part = x[rows] - shift
        total += part.sum(0)
        outer += part.T @ part
    mean = total / len(x)
    return mean + shift, (outer - np.outer(total, mean)) / (len(x) - 1)


def frechet_from_moments(mean_x: ArrayLike, cov_x: ArrayLike, mean_y: ArrayLike, cov_y: ArrayLike) -> float:
    """Frechet distance of two Gaussians, `||m_x - m_y||^2 + tr(S_x + S_y - 2 (S_x^(1/2) S_y S_x^(1/2))^(1/2))`.

    The product is symmetric, so its eigenvalues are real: no complex square root of a matrix is taken.

    Args:
        mean_x, mean_y: (d,).
        cov_x, cov_y: (d, d), symmetric, positive semidefinite.

    References:
        arXiv 1706.08500.

    Example:
        >>> float(round(frechet_from_moments([0.0], [[1.0]], [3.0], [[4.0]]), 6))
        10.0
    """
    mean_x, cov_x, mean_y, cov_y = (np.asarray(a, dtype=np.float64) for a in (mean_x, cov_x, mean_y, cov_y))
    values, vectors = eigh(cov_x)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = root @ cov_y @ root
    cross = np.sqrt(eigvalsh((product + product.T) / 2, overwrite_a=True).clip(0)).sum()
    distance = np.square(mean_x - mean_y).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * cross
    return float(max(distance, 0.0))


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Frechet distance of two feature matrices, (N, d) and (M, d); FID, if Inception-v3 made them.

    Raises:
        ValueError: if a matrix has no more than d rows, or the widths differ.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(40, 2))
        >>> round(frechet_distance(x, x + [3.0, 4.0]), 6)
        25.0
    """
    x, y = paired(x, y)
    n, d = min(len(x), len(y)), x.shape[1]
    if n <= d:
        raise ValueError(f"N must be above the feature dimension {d} for a Frechet distance, got {n}.")
    if n < 10 * d:
        warnings.warn(f"Frechet distance with N = {n} below 10 d = {10 * d}: biased upwards.", stacklevel=2)
    return frechet_from_moments(*moments(x), *moments(y))


def mmd(x: ArrayLike, y: ArrayLike, kernel: Kernel) -> float:
    """Unbiased squared maximum mean discrepancy, which may fall below 0 between equal distributions.

    `mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)`

    The kernel is summed over tiles of at most 1024 x 1024 in float64; the features may be float32.

    Args:
        x: (N, d), N >= 2.
        y: (M, d), M >= 2.
        kernel: (N, d) and (M, d) features to their (N, M) matrix.

    Raises:
        ValueError: if a matrix has fewer than 2 rows, or the widths differ.

    References:
        Gretton et al., A kernel two-sample test, JMLR 13, 2012, equation (3).

    Example:
        >>> from selfdebias.metrics.metric import PolynomialKernel
        >>> mmd([[0.0], [0.0]], [[1.0], [1.0]], PolynomialKernel(degree=1))
        1.0
    """
    x, y = paired(x, y, least=2)
    sums = _kernel_sums(x, y, np.zeros(len(x)), np.zeros(len(y)), kernel)
    return float(_mmd(sums, np.ones((1, 1)), np.ones((1, 1)))[0])


def bounded_mmd(
    x: ArrayLike, y: ArrayLike, x_blocks: ArrayLike, y_blocks: ArrayLike, bootstrap: BlockBootstrap, kernel: Kernel
) -> Number:
    """Measure `mmd`, and bound it by resampling blocks of both sides.

    An image never meets its own copy, so the resamples stay unbiased.

    Args:
        x, y: (N, d) and (M, d) features.
        x_blocks, y_blocks: (N,) and (M,) integers, the block of each row; memory grows with the pairs of blocks.
        bootstrap: repeats, seed and level.
        kernel: as for `mmd`.

    Returns:
        the value with its interval; `blocks` is the number of the side that has fewer.
    """
    blocks = min(len(np.unique(side)) for side in (x_blocks, y_blocks))
    return bootstrap.around(*mmd_draws(x, y, x_blocks, y_blocks, bootstrap, kernel), blocks)


def mmd_draws(
    x: ArrayLike, y: ArrayLike, x_blocks: ArrayLike, y_blocks: ArrayLike, bootstrap: BlockBootstrap, kernel: Kernel
) -> Draws:
    """Measure `mmd` on resamples of both sides, with the arguments of `bounded_mmd`."""
    x, y = paired(x, y, least=2)
    sums = _kernel_sums(x, y, x_blocks, y_blocks, kernel)
    sizes = sums[2][0].shape  # blocks of x and of y
    weights = [bootstrap.weights(size, stream) for stream, size in enumerate(sizes)]
    value = float(_mmd(sums, *(np.ones((1, size)) for size in sizes))[0])
    return Draws(value, _mmd(sums, *weights))


def _kernel_sums(
    x: Array, y: Array, x_blocks: ArrayLike, y_blocks: ArrayLike, kernel: Kernel
) -> list[tuple[Array, Array]]:
    """Sum the kernel over pairs of blocks of x, of y, and of x and y, and count the pairs behind each, without i = j."""
    (x, x_index), (y, y_index) = _by_block(x, x_blocks), _by_block(y, y_blocks)
    x_sizes, y_sizes = (np.bincount(index).astype(np.float64) for index in (x_index, y_index))
    return [
        (_summed(x, x, x_index, x_index, kernel, own=True), np.outer(x_sizes, x_sizes) - np.diag(x_sizes)),
        (_summed(y, y, y_index, y_index, kernel, own=True), np.outer(y_sizes, y_sizes) - np.diag(y_sizes)),
        (_summed(x, y, x_index, y_index, kernel, own=False), np.outer(x_sizes, y_sizes)),
    ]


def _by_block(x: Array, blocks: ArrayLike) -> tuple[Array, NDArray[np.intp]]:
    """Put the rows of a block together: the rows in that order, and the number of each one's block."""
    names, index = np.unique(np.asarray(blocks), return_inverse=True)
    order = np.argsort(index, kind="stable")
    return x if len(names) == 1 else x[order], index[order]


def _summed(
    x: Array, y: Array, x_index: NDArray[np.intp], y_index: NDArray[np.intp], kernel: Kernel, own: bool
) -> Array:
    """Sum the kernel over pairs of blocks, tile by tile; with `own`, x is y and a row is not paired with itself."""
    total = np.zeros((x_index[-1] + 1, y_index[-1] + 1))
    for rows in chunks(len(x)):
        left = x[rows].astype(np.float64, copy=False)
        for columns in chunks(len(y)):
            tile = kernel(left, y[columns].astype(np.float64, copy=False))
            if own and rows == columns:
                np.fill_diagonal(tile, 0.0)
            tile, row_blocks = _reduced(tile, x_index[rows])
            tile, column_blocks = _reduced(tile.T, y_index[columns])
            total[row_blocks, column_blocks] += tile.T
    return total


def _reduced(tile: Array, index: NDArray[np.intp]) -> tuple[Array, slice]:
    """Sum the rows of each block, where the blocks stand together: (B, M), and which blocks they are."""
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    return np.add.reduceat(tile, starts, axis=0), slice(index[0], index[-1] + 1)


def _mmd(sums: list[tuple[Array, Array]], x_weights: Array, y_weights: Array) -> Array:
    """Unbiased squared MMD, (R,), with block a of x counted `x_weights[r, a]` times."""
    means, weights = [], [(x_weights, x_weights), (y_weights, y_weights), (x_weights, y_weights)]
    for (total, pairs), (left, right) in zip(sums, weights, strict=True):
        top, bottom = (((left @ a) * right).sum(1) for a in (total, pairs))
        means.append(np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0))
    return means[0] + means[1] - 2 * means[2]


def _frechet(arm: ArmData, reference: ArmData, _suite: MetricSuite, _resampling: BlockBootstrap | None) -> Number:
    return Number(frechet_distance(arm.compared, reference.compared), reason=NO_INTERVAL)


def _kid(arm: ArmData, reference: ArmData, suite: MetricSuite, resampling: BlockBootstrap | None) -> Number:
    return _distance(arm.compared, reference.compared, arm, reference, suite.kid_kernel, resampling)


def _cmmd(arm: ArmData, reference: ArmData, suite: MetricSuite, resampling: BlockBootstrap | None) -> Number:
    return _distance(arm.e, reference.e, arm, reference, suite.cmmd_kernel, resampling)


def _distance(
    x: Array, y: Array, arm: ArmData, reference: ArmData, kernel: Kernel, resampling: BlockBootstrap | None
) -> Number:
    if resampling is None:
        return Number(mmd(x, y, kernel))
    return bounded_mmd(x, y, arm.blocks, reference.blocks, resampling, kernel)


def _kid_draws(arm: ArmData, reference: ArmData, suite: MetricSuite, resampling: BlockBootstrap) -> Draws:
    return mmd_draws(arm.compared, reference.compared, arm.blocks, reference.blocks, resampling, suite.kid_kernel)


def _cmmd_draws(arm: ArmData, reference: ArmData, suite: MetricSuite, resampling: BlockBootstrap) -> Draws:
    return mmd_draws(arm.e, reference.e, arm.blocks, reference.blocks, resampling, suite.cmmd_kernel)


FRECHET = ReferenceMetric(
    key="frechet_distance",
    title="Frechet distance",
    meaning="distance of the means and covariances of the features, as of two Gaussians; 0 is best.",
    measure=_frechet,
    interval=False,
    labelled=True,
    in_sweeps=False,
)
KID = ReferenceMetric(
    key="kid",
    title="KID",
    meaning="squared distance of the means of the features in the space of a cubic kernel; 0 is best, and chance goes below it.",
    measure=_kid,
    draws=_kid_draws,
    labelled=True,
)
CMMD = ReferenceMetric(
    key="cmmd",
    title="CMMD",
    meaning="squared distance of the mean embeddings in the space of a Gaussian kernel, times 1000 as published; 0 is best.",
    measure=_cmmd,
    draws=_cmmd_draws,
    by_encoder=True,
    in_sweeps=False,
)
