"""Kernel distances, KID and CMMD: unbiased estimates, and intervals from sums of the kernel over pairs of blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.features import chunks, paired
from selfdebias.metrics.metric import Metric
from selfdebias.metrics.number import Number
from selfdebias.metrics.suite import Kernel, MetricSuite

Array = NDArray[np.float64]


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
        >>> from selfdebias.metrics.suite import PolynomialKernel
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
    x, y = paired(x, y, least=2)
    sums = _kernel_sums(x, y, x_blocks, y_blocks, kernel)
    sizes = len(sums.x), len(sums.y)
    weights = [bootstrap.weights(size, stream) for stream, size in enumerate(sizes)]
    value = float(_mmd(sums, *(np.ones((1, size)) for size in sizes))[0])
    return bootstrap.around(value, _mmd(sums, *weights), min(sizes))


@dataclass(frozen=True)
class _KernelSums:
    """Sums of the kernel over pairs of blocks, and the number of pairs behind each, without i = j."""

    x: Array
    y: Array
    xy: Array
    x_pairs: Array
    y_pairs: Array
    xy_pairs: Array


def _kernel_sums(x: Array, y: Array, x_blocks: ArrayLike, y_blocks: ArrayLike, kernel: Kernel) -> _KernelSums:
    (x, x_index), (y, y_index) = _by_block(x, x_blocks), _by_block(y, y_blocks)
    x_sizes, y_sizes = (np.bincount(index).astype(np.float64) for index in (x_index, y_index))
    return _KernelSums(
        x=_summed(x, x, x_index, x_index, kernel, own=True),
        y=_summed(y, y, y_index, y_index, kernel, own=True),
        xy=_summed(x, y, x_index, y_index, kernel, own=False),
        x_pairs=np.outer(x_sizes, x_sizes) - np.diag(x_sizes),
        y_pairs=np.outer(y_sizes, y_sizes) - np.diag(y_sizes),
        xy_pairs=np.outer(x_sizes, y_sizes),
    )


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


def _mmd(sums: _KernelSums, x_weights: Array, y_weights: Array) -> Array:
    """Unbiased squared MMD, (R,), with block a of x counted `x_weights[r, a]` times."""

    def mean(total: Array, pairs: Array, left: Array, right: Array) -> Array:
        top, bottom = (((left @ a) * right).sum(1) for a in (total, pairs))
        return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)

    own = mean(sums.x, sums.x_pairs, x_weights, x_weights) + mean(sums.y, sums.y_pairs, y_weights, y_weights)
    return own - 2 * mean(sums.xy, sums.xy_pairs, x_weights, y_weights)


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


KID = Metric(
    key="kid",
    title="KID",
    meaning="squared distance of the means of the features in the space of a cubic kernel; 0 is best, and chance goes below it.",
    measure=_kid,
    labelled=True,
)
CMMD = Metric(
    key="cmmd",
    title="CMMD",
    meaning="squared distance of the mean embeddings in the space of a Gaussian kernel, times 1000 as published; 0 is best.",
    measure=_cmmd,
    by_encoder=True,
)
