"""The judge's error as `results.json` states it, and shares that are corrected by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.config.prompts import CROSS
from selfdebias.judges.judge_error import Confusion, confusion_rates, corrected_shares
from selfdebias.metrics import fairness
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.intervals import BlockBootstrap, drawn_shares
from selfdebias.metrics.number import Number, missing
from selfdebias.metrics.shares import class_sums, expanded_shares

UNKNOWN = "the judge states no error for it at this threshold, and `evaluate.labelled` has no images of it"

STATED = "stated by the judge: "


def summarise_error(
    classes: Mapping[str, Sequence[str]], stated: Mapping[str, Confusion], measured: Mapping[str, Confusion]
) -> dict[str, dict[str, Any]]:
    """State the judge's error on each attribute, or why it is not known.

    Args:
        classes: the judge's, by attribute.
        stated: what the judge says of its own error, by attribute.
        measured: on labelled images, by attribute; goes before what is stated.

    Returns:
        by attribute, `counts` (C, C) with the true class as the row, `accuracy`, `n`, `unclassified`, `skipped` and
        `source`; or null with the reason.

    Example:
        >>> sides = {"side": ["heads", "tails"], "metal": ["gold", "tin"]}
        >>> error = summarise_error(sides, {}, {"side": Confusion([[3, 1], [0, 4]], 2, 0, "labelled folder coins")})
        >>> error["side"]
        {'counts': [[3, 1], [0, 4]], 'accuracy': 0.875, 'n': 8, 'unclassified': 2, 'skipped': 0, 'source': 'labelled folder coins'}
        >>> error["metal"]["value"] is None
        True
    """
    told = {name: (it, f"{STATED}{it.source}") for name, it in stated.items()}
    told |= {name: (it, it.source) for name, it in measured.items()}
    none = missing(UNKNOWN).to_json()
    return {name: _entry(names, *told[name]) if name in told else none for name, names in classes.items()}


def _entry(names: Sequence[str], it: Confusion, source: str) -> dict[str, Any]:
    left_out = {"n": it.n, "unclassified": it.unclassified, "skipped": it.skipped, "source": source}
    empty = [name for name, row in zip(names, it.counts, strict=True) if not sum(row)]
    if empty:
        return missing(f"no labelled image of {', '.join(empty)} was classified", **left_out).to_json()
    return {"counts": it.counts, "accuracy": it.accuracy, **left_out}


Array = NDArray[np.float64]
PRIOR = 0.5  # added to each count of the confusion matrix when it is drawn anew (Jeffreys): a mistake not yet seen is possible


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
    """Correct shares, and bound them: images and confusion matrix are drawn anew together, and the middle is kept.

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
