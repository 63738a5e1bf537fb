"""Kernel Inception Distance: an unbiased estimate, and its interval from sums of the kernel over pairs of blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.bootstrap import BlockBootstrap, Interval, block_sums
from selfdebias.metrics.features import chunks, paired

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PolynomialKernel:
    """Kernel `k(x, y) = (gamma x.y + coef)^degree` on features.

    Args:
        degree: at least 1; 3 as published for KID.
        gamma: above 0; 1 for unit vectors, 1 / d for Inception features.
        coef: constant.

    References:
        arXiv 1801.01401.
    """

    degree: int = 3
    gamma: float = 1.0
    coef: float = 1.0

    def __call__(self, x: Array, y: Array) -> Array:
        """Return the (N, M) kernel matrix of (N, d) and (M, d) features."""
        return (self.gamma * (x @ y.T) + self.coef) ** self.degree


def kid(x: ArrayLike, y: ArrayLike, kernel: PolynomialKernel | None = None) -> float:
    """Kernel Inception Distance: unbiased squared MMD, which may fall below 0 between equal distributions.

    `mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)`

    Args:
        x: (N, d), N >= 2.
        y: (M, d), M >= 2.
        kernel: the published cubic one with gamma 1 by default.

    Raises:
        ValueError: if a matrix has fewer than 2 rows, or the widths differ.

    Example:
        >>> kid([[0.0], [0.0]], [[1.0], [1.0]])
        7.0
    """
    x, y = paired(x, y, least=2)
    sums = _kernel_sums(x, y, np.zeros(len(x)), np.zeros(len(y)), kernel or PolynomialKernel())
    return float(_mmd(sums, np.ones((1, 1)), np.ones((1, 1)))[0])


def kid_interval(
    x: ArrayLike,
    y: ArrayLike,
    x_blocks: ArrayLike,
    y_blocks: ArrayLike,
    bootstrap: BlockBootstrap,
    kernel: PolynomialKernel | None = None,
) -> Interval:
    """Bound KID by resampling blocks of both sides; an image never meets its own copy, so the resamples stay unbiased.

    Args:
        x, y: (N, d) and (M, d) features.
        x_blocks, y_blocks: (N,) and (M,) integers, the block of each row.
        bootstrap: repeats, seed and level.
        kernel: as for `kid`.

    Returns:
        the interval, with the number of blocks of the side that has fewer.
    """
    x, y = paired(x, y, least=2)
    sums = _kernel_sums(x, y, x_blocks, y_blocks, kernel or PolynomialKernel())
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


def _kernel_sums(x: Array, y: Array, x_blocks: ArrayLike, y_blocks: ArrayLike, kernel: PolynomialKernel) -> _KernelSums:
    def within(rows: Array, blocks: ArrayLike) -> tuple[Array, Array]:
        own = block_sums([kernel(row[None], row[None])[0, 0] for row in rows], blocks)[:, 0]
        size = block_sums(np.ones(len(rows)), blocks)[:, 0]
        return between(rows, rows, blocks, blocks) - np.diag(own), np.outer(size, size) - np.diag(size)

    def between(left: Array, right: Array, left_blocks: ArrayLike, right_blocks: ArrayLike) -> Array:
        columns = [block_sums(kernel(left[rows], right).T, right_blocks).T for rows in chunks(len(left))]
        return block_sums(np.concatenate(columns), left_blocks)

    sizes = [block_sums(np.ones(len(rows)), blocks)[:, 0] for rows, blocks in ((x, x_blocks), (y, y_blocks))]
    (x_sum, x_pairs), (y_sum, y_pairs) = within(x, x_blocks), within(y, y_blocks)
    return _KernelSums(x_sum, y_sum, between(x, y, x_blocks, y_blocks), x_pairs, y_pairs, np.outer(*sizes))


def _mmd(sums: _KernelSums, x_weights: Array, y_weights: Array) -> Array:
    """Unbiased squared MMD, (R,), with block a of x counted `x_weights[r, a]` times."""

    def mean(total: Array, pairs: Array, left: Array, right: Array) -> Array:
        top, bottom = (((left @ a) * right).sum(1) for a in (total, pairs))
        return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)

    own = mean(sums.x, sums.x_pairs, x_weights, x_weights) + mean(sums.y, sums.y_pairs, y_weights, y_weights)
    return own - 2 * mean(sums.xy, sums.xy_pairs, x_weights, y_weights)
