"""What each axis has to do with the judged attributes: labels report, they never choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import homogeneity_score, roc_auc_score

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.entries import Entry, missing
from selfdebias.metrics.modes import ari
from selfdebias.modes.axis_sides import AxisSides, sides_of


def axes_agreement(
    reference: ArmData, cells: np.ndarray, axes: Sequence[Mapping[str, Any]], attributes: Sequence[str],
    places: AxisSides | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Hold the sides of each axis against each judged attribute.

    Args:
        reference: N images, judged.
        cells: (N,) int64, the cell of each.
        axes: what discover says of each axis; copied.
        attributes: names.
        places: the axes in the encoder's space; None leaves ``auc`` out.

    Returns:
        for each axis what was said of it, and by attribute ``ari`` and ``homogeneity`` (the share of the attribute's entropy that
        the sides tell) of the sides with the classes that the judge is sure of, and ``auc`` of the coordinates, in [0.5, 1] since
        an axis has no direction: of more than two classes the one told best, against all others. Null where it is sure of none.
    """
    sides = sides_of(cells, len(axes))
    coordinates = None if places is None else places.coordinates(reference.e)

    def told_by(a: int) -> dict[str, dict[str, Any]]:
        """Return what axis `a` has to do with each attribute, by measure."""
        values: dict[str, dict[str, Any]] = {"ari": {}, "homogeneity": {}}
        if coordinates is not None:
            values["auc"] = {name: _auc(coordinates[:, a], *reference.labels(name)) for name in attributes}
        for name in attributes:
            labels, sure = reference.labels(name)
            for key, metric in (("ari", ari), ("homogeneity", _homogeneity)):
                values[key][name] = (
                    metric(sides[sure, a], labels[sure]) if sure.any() else missing("no reference image is classified")
                )
        return values

    return [{**axis, **told_by(a)} for a, axis in enumerate(axes)]


def _auc(u: np.ndarray, labels: np.ndarray, sure: np.ndarray) -> float | Entry:
    """Return the area under the ROC curve of coordinates (N,): one class against all others, the one that is told best."""
    labels, u = labels[sure], u[sure]
    classes = np.unique(labels)
    if len(classes) < 2:
        return missing("the reference images are of one class")
    return max(max(area, 1 - area) for k in classes for area in [float(roc_auc_score(labels == k, u))])


def _homogeneity(sides: np.ndarray, labels: np.ndarray) -> float:
    return float(homogeneity_score(sides, labels)) if len(np.unique(labels)) > 1 else 1.0
