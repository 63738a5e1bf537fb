"""What each axis has to do with the judged attributes: labels report, they never choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import homogeneity_score

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.entries import missing
from selfdebias.metrics.modes import ari
from selfdebias.modes.axis_sides import sides_of


def axes_agreement(
    reference: ArmData, cells: np.ndarray, axes: Sequence[Mapping[str, Any]], attributes: Sequence[str]
) -> list[dict[str, Any]]:
    """Hold the sides of each axis against each judged attribute.

    Args:
        reference: N images, judged.
        cells: (N,) int64, the cell of each.
        axes: what discover says of each axis; copied.
        attributes: names.

    Returns:
        for each axis what was said of it, and by attribute ``ari`` and ``homogeneity`` (the share of the attribute's entropy that
        the sides tell) of the sides with the classes that the judge is sure of; null where it is sure of none.
    """
    sides = sides_of(cells, len(axes))

    def against(a: int) -> dict[str, dict[str, Any]]:
        values: dict[str, dict[str, Any]] = {"ari": {}, "homogeneity": {}}
        for name in attributes:
            labels, sure = reference.labels(name)
            for key, metric in (("ari", ari), ("homogeneity", _homogeneity)):
                values[key][name] = (
                    metric(sides[sure, a], labels[sure]) if sure.any() else missing("no reference image is classified")
                )
        return values

    return [{**axis, **against(a)} for a, axis in enumerate(axes)]


def _homogeneity(sides: np.ndarray, labels: np.ndarray) -> float:
    return float(homogeneity_score(sides, labels)) if len(np.unique(labels)) > 1 else 1.0
