"""What a new mix of modes does to the shares of an attribute, if no image is changed otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from selfdebias.metrics import fairness
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.comparison import NO_MODES, Sets
from selfdebias.metrics.intervals import BlockBootstrap, block_sums
from selfdebias.metrics.number import Number, missing
from selfdebias.metrics.shares import attribute_metrics
from selfdebias.modes.placement import sides_of

RAKING = 50  # rounds over the axes

Array = NDArray[np.float64]


def composition(sets: Sets, attributes: Sequence[str]) -> dict[str, Any] | Number:
    """Predict an arm's class shares by weighting vanilla images so that their modes have the arm's shares.

    Any method that mixes modes anew pays what is predicted, selection of vanilla images too. What is measured beyond it
    is done to the images themselves.

    Args:
        sets: the images, whose mode shares are taken, and the baseline, whose images are weighted; they need not be paired.
            Where the modes are the cells of axes, the sides of each axis have the arm's shares, see `raked`.
        attributes: judged attributes, or intersections.

    Returns:
        by attribute `predicted_shares` (an entry a class), `predicted_fd_hard` and `measured_fd_hard`; or one null with the
        reason. The intervals of what is predicted hold the error of both arms; `vanilla_n` is the number of images behind it.
    """
    baseline = sets.compared.baseline
    if sets.vanilla is None:
        return missing(f"there is no {baseline} arm")
    if sets.arm.arm == baseline:
        return missing(f"{baseline} images are what is weighted anew")
    if not sets.n_modes:
        return missing(NO_MODES)
    arm, vanilla = (data.rows(~data.blanked) for data in (sets.arm, sets.vanilla))

    def entries(attribute: str) -> dict[str, Any]:
        found = predicted(arm, vanilla, attribute, sets.n_modes, sets.resampling, sets.axes)
        return {**found, "measured_fd_hard": attribute_metrics(arm, attribute, sets.resampling)["fd_hard"]}

    return {name: entries(name) for name in attributes}


def predicted(
    arm: ArmData, vanilla: ArmData, attribute: str, n_modes: int, resampling: BlockBootstrap, axes: int = 0
) -> dict[str, Any]:
    """Predict the shares of one attribute, and their distance from equal ones; see `composition`."""
    names = arm.classes[attribute]
    tables, wanted = counts_by_mode(vanilla, attribute, n_modes), block_sums(np.eye(n_modes)[arm.modes], arm.blocks)
    shares = _mixed(tables.sum(0, keepdims=True), wanted.sum(0, keepdims=True), len(names), axes)[0]
    if not np.isfinite(shares).all():
        why = missing("there is no classified vanilla image of a mode that the arm shows")
        return {"predicted_shares": why, "predicted_fd_hard": why}
    drawn = _drawn(tables, wanted, len(names), resampling, axes)
    sizes = len(wanted), len(tables)

    def entry(value: float, resampled: list[Array], most: float) -> Number:
        number = welch_interval(value, resampled, sizes, resampling).within(0.0, most)
        return replace(number, blocks=None).stating(vanilla_n=len(vanilla))  # blocks would be read as the arm's own

    most = fairness.range_of("fd_hard", len(names))[1]
    return {
        "predicted_shares": {name: entry(shares[c], [it[:, c] for it in drawn], 1.0) for c, name in enumerate(names)},
        "predicted_fd_hard": entry(float(fairness.fd_hard(shares)), [fairness.fd_hard(it) for it in drawn], most),
    }


def _drawn(tables: Array, wanted: Array, n_classes: int, resampling: BlockBootstrap, axes: int) -> list[Array]:
    """Resampled predictions, (repeats, C): of the arm's blocks, of the vanilla arm's, and of both; none with one block."""
    if min(len(tables), len(wanted)) < 2:
        return []
    modes = resampling.weights(len(wanted), 0) @ wanted
    images = np.tensordot(resampling.weights(len(tables), 1), tables, 1)
    pairs = [(tables.sum(0, keepdims=True), modes), (images, wanted.sum(0, keepdims=True)), (images, modes)]
    return [_mixed(table, mode, n_classes, axes) for table, mode in pairs]


def _mixed(tables: Array, modes: Array, n_classes: int, axes: int) -> Array:
    """Return what `reweighted` does, with the modes' counts, or those of the cells that have the same sides."""
    return reweighted(tables, raked(tables.sum(2), modes, axes) if axes else modes, n_classes)


def welch_interval(value: float, drawn: Sequence[Array], sizes: tuple[int, int], resampling: BlockBootstrap) -> Number:
    """Bound a statistic of two sets of blocks, with as many degrees of freedom as the two variances are known by.

    Few guided batches hardly widen it where most of the scatter is that of many independent images.

    Args:
        value: of the statistic.
        drawn: its values, (repeats,) each, where the first set is resampled, the second one, and both.
        sizes: number of blocks of each set.
        resampling: its level.

    References:
        Welch, The generalization of Student's problem when several different population variances are involved, 1947.

    Example:
        >>> noise = np.linspace(-1, 1, 101)
        >>> interval = welch_interval(0.0, [0 * noise, 0.1 * noise, 0.1 * noise], (2, 1000), BlockBootstrap())
        >>> round(interval.low, 2), round(interval.high, 2)
        (-0.11, 0.11)
    """
    blocks = min(sizes)
    if not drawn:
        return Number.unbounded(value, blocks)
    alone, both = [it[np.isfinite(it)] for it in drawn[:2]], drawn[2][np.isfinite(drawn[2])]
    if not all(map(len, (*alone, both))):
        return Number.unbounded(value, blocks)
    variances = np.array([it.var() * size / (size - 1) for it, size in zip(alone, sizes, strict=True)])
    total = variances.sum()
    freedom = total**2 / (np.square(variances) / (np.array(sizes) - 1)).sum() if total > 0 else blocks - 1
    centre = 2 * value - both.mean()
    width = float(student.ppf((1 + resampling.level) / 2, freedom)) * np.sqrt(total)
    return Number(value, float(centre - width), float(centre + width), blocks=blocks)


def counts_by_mode(data: ArmData, attribute: str, n_modes: int) -> Array:
    """Count the images of each mode in each class, in each block; unclassified ones stand last: (B, K, C + 1)."""
    labels, sure = data.labels(attribute)
    n_columns = len(data.classes[attribute]) + 1
    cells = data.modes * n_columns + np.where(sure, labels, n_columns - 1)
    return block_sums(np.eye(n_modes * n_columns)[cells], data.blocks).reshape(-1, n_modes, n_columns)


def raked(have: Array, want: Array, axes: int) -> Array:
    """Weight cells so that the sides of each axis have wanted shares, and their dependence stays as it is.

    Args:
        have: (R, 2^A) counts of images by cell; R may be 1 on either side.
        want: (R, 2^A) counts, of which the shares of the sides of each axis count.
        axes: A.

    Returns:
        (R, 2^A) shares of the cells; NaN where a side is wanted of which there is no image.

    References:
        Deming and Stephan, On a least squares adjustment of a sampled frequency table, Annals of Mathematical Statistics 1940.

    Example:
        >>> raked(np.array([[4.0, 1.0, 4.0, 1.0]]), np.array([[1.0, 1.0, 0.0, 0.0]]), 1 + 1).round(3).tolist()
        [[0.5, 0.5, 0.0, 0.0]]
    """
    sides = sides_of(np.arange(2**axes), axes).astype(float)
    masks = np.stack([1 - sides.T, sides.T], 1)  # (A, 2, 2^A)
    have, want = np.broadcast_arrays(have / have.sum(1, keepdims=True), want / want.sum(1, keepdims=True))
    found = have.copy()
    for _ in range(RAKING):
        for mask in masks:
            present, wanted = found @ mask.T, want @ mask.T  # (R, 2)
            factor = np.divide(wanted, present, out=np.where(wanted > 0, np.nan, 0.0), where=present > 0)
            found = found * (factor @ mask)
    return found


def reweighted(tables: Array, modes: Array, n_classes: int) -> Array:
    """Weight images so that their modes have other shares, and return the shares of the classes.

    Args:
        tables: (R, K, C + 1) counts of images by mode and class, unclassified ones last; R may be 1 on either side.
        modes: (R, K) counts that the modes are to have, up to a factor.
        n_classes: C.

    Returns:
        (R, C) shares among the classified; NaN where a mode is to be shown of which there is no image, or none is classified.

    Example:
        >>> tables = np.array([[[6.0, 2.0, 0.0], [0.0, 2.0, 0.0]]])  # of mode 0 a quarter is of class 1, of mode 1 all are
        >>> reweighted(tables, np.array([[1.0, 1.0]]), 2).tolist()
        [[0.375, 0.625]]
    """
    totals = np.broadcast_to(tables.sum(2), np.broadcast_shapes(tables.shape[:2], modes.shape))
    lost = ((totals == 0) & (modes > 0)).any(1)
    weights = np.divide(modes, totals, out=np.zeros(totals.shape), where=totals > 0)
    found = fairness.shares((weights[:, :, None] * tables[:, :, :n_classes]).sum(1))
    found[lost] = np.nan
    return found
