"""Discovered modes, measured without a judge: where images fall, and how modes and axes agree with judged attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import adjusted_rand_score, homogeneity_score, normalized_mutual_info_score, roc_auc_score

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.comparison import NO_MODES
from selfdebias.metrics.features import features
from selfdebias.metrics.intervals import BlockBootstrap
from selfdebias.metrics.number import Number, all_missing, missing
from selfdebias.metrics.shares import axis_metrics_of, mode_metrics_of
from selfdebias.modes.placement import AxisSides, sides_of

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


MODE_KEYS = ("mode_fd", "mode_kl", "mode_shares")


def nmi(modes: ArrayLike, labels: ArrayLike) -> float:
    """Normalised mutual information of modes and attribute labels, (N,) each, in [0, 1].

    Example:
        >>> round(nmi([0, 0, 1, 1], [1, 1, 0, 0]), 6)
        1.0
    """
    return float(normalized_mutual_info_score(np.asarray(labels), np.asarray(modes)))


def ari(modes: ArrayLike, labels: ArrayLike) -> float:
    """Adjusted Rand index of modes and attribute labels, (N,) each, at most 1; 0 is chance.

    Example:
        >>> ari([0, 0, 1, 1], [1, 1, 0, 0])
        1.0
    """
    return float(adjusted_rand_score(np.asarray(labels), np.asarray(modes)))


def mode_stability(cluster: Callable[[], Any], e: ArrayLike, seed: int, repeats: int = 5) -> float:
    """Mean agreement (ARI) of the modes that two random halves of the images give, on all images; 1 is the same modes.

    Args:
        cluster: makes an estimator with `fit` and `predict`, as scikit-learn has them.
        e: (N, d) embeddings, N >= 4.
        seed: of the halves.
        repeats: pairs of halves, at least 1.

    Raises:
        ValueError: if there are fewer than 4 rows, or `repeats` is below 1.

    Example:
        >>> from sklearn.cluster import KMeans
        >>> e = np.repeat([[1.0, 0.0], [0.0, 1.0]], 20, axis=0)
        >>> mode_stability(lambda: KMeans(2, n_init=1, random_state=0), e, seed=0)
        1.0
    """
    e = features(e, "e", least=4)
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1, got {repeats}.")
    generator = np.random.default_rng(seed)

    def once() -> float:
        halves = np.array_split(generator.permutation(len(e)), 2)
        return ari(*(cluster().fit(e[half]).predict(e) for half in halves))

    return float(np.mean([once() for _ in range(repeats)]))


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


def _auc(u: np.ndarray, labels: np.ndarray, sure: np.ndarray) -> float | Number:
    """Return the area under the ROC curve of coordinates (N,): one class against all others, the one that is told best."""
    labels, u = labels[sure], u[sure]
    classes = np.unique(labels)
    if len(classes) < 2:
        return missing("the reference images are of one class")
    return max(max(area, 1 - area) for k in classes for area in [float(roc_auc_score(labels == k, u))])


def _homogeneity(sides: np.ndarray, labels: np.ndarray) -> float | Number:
    if len(np.unique(labels)) < 2:
        return missing("the reference images are of one class")
    return float(homogeneity_score(labels, sides))


def mode_entries(shown: ArmData, modes: Mapping[str, Any] | None, resampling: BlockBootstrap) -> dict[str, Any]:
    """Measure the shares of the modes against their target, or of each axis against its own."""
    if not modes:
        return all_missing(MODE_KEYS, NO_MODES)
    if "axes" in modes:
        one_by_one = all_missing(("mode_fd", "mode_kl"), "there are axes, which are measured one by one: see `axes`")
        return one_by_one | axis_metrics_of(shown, modes["target"], resampling)
    return mode_metrics_of(shown, modes["target"], resampling)


def cells_in(modes: Mapping[str, Any] | None) -> int:
    """Return how many modes an image can be in: of A axes the 2^A cells that their sides make; 0 where no modes are known."""
    if not modes:
        return 0
    return 2 ** len(modes["axes"]) if "axes" in modes else len(modes["target"])


def summarise_modes(
    reference: ArmData | None, modes: Mapping[str, Any] | None, attributes: list[str]
) -> dict[str, Any] | Number:
    """Describe the modes, and how the discovered labels of the reference images agree with each judged attribute."""
    if modes is None:
        return missing(NO_MODES)
    facts = {
        key: modes[key]
        for key in ("k", "sizes", "silhouette", "stability", "target", "balanced", "classes", "carried")
        if key in modes
    }
    if reference is None or "labels" not in modes:
        reason = "the reference images are not those that the modes were found on, judged by this judge"
        if "axes" in modes:
            lacking = {measure: all_missing(attributes, reason) for measure in ("ari", "homogeneity")}
            facts["axes"] = [{**axis, **lacking} for axis in modes["axes"]]
        return facts | {measure: all_missing(attributes, reason) for measure in ("nmi", "ari")}
    reference = reference.rows(~reference.blanked)
    found = np.array([modes["labels"][str(i)] for i in reference.ids], dtype=np.int64)
    if "axes" in modes:
        facts["axes"] = axes_agreement(reference, found, modes["axes"], attributes, modes.get("places"))

    def agreement(metric: Any, attribute: str) -> float | Number:
        labels, sure = reference.labels(attribute)
        if not sure.any():
            return missing("no reference image is classified")
        return metric(found[sure], labels[sure])

    return {
        **facts,
        "nmi": {name: agreement(nmi, name) for name in attributes},
        "ari": {name: agreement(ari, name) for name in attributes},
    }
