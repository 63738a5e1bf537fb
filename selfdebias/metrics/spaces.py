"""Quality by features: in the encoder's space, which guidance acts in, and in others, which it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdebias.metrics.arms import ArmData, Placed
from selfdebias.metrics.comparison import NO_REFERENCE, Sets, kept
from selfdebias.metrics.features import cosines, features
from selfdebias.metrics.number import Number, all_missing
from selfdebias.metrics.preservation import COSINES
from selfdebias.metrics.quality import against_reference
from selfdebias.metrics.shares import mean_of
from selfdebias.metrics.within_modes import switched_precisions

Array = NDArray[np.float64]
OF_REFERENCE = ("kid", "precision", "vendi")
KEYS = (*OF_REFERENCE, "turned_precision_ratio", "kept")
ENCODER, EXTRACTOR = "encoder", "extractor"
FLOOR_OF_KEPT = "pairs of different images of the arm that it is compared with, in one mode"


class Scaled(NamedTuple):
    """Centre (d,) and one scale by which features of unknown size are made comparable: mean 0 and mean square 1."""

    mean: Array
    scale: float

    @classmethod
    def of(cls, x: NDArray[Any]) -> Scaled:
        """Take both from the reference images' features, (N, d).

        Raises:
            ValueError: if there is none, one is not finite, or all images have the same.
        """
        x = features(x, "reference").astype(np.float64)
        mean = x.mean(0)
        scale = float(np.sqrt(np.square(x - mean).mean()))
        if scale == 0:
            raise ValueError("all reference images have the same features")
        return cls(mean, scale)

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Return (x - mean) / scale, (N, d) float32: neighbours and directions stay as they are."""
        return ((x - self.mean) / self.scale).astype(np.float32)


def in_space(sets: Sets, name: str) -> Sets:
    """Compare images by the features `name`, scaled as the reference asks, without it as the baseline; KID's gamma is 1/d.

    Raises:
        ValueError: if a set lacks the features, or has them of another width, or they cannot be scaled.
    """
    every = [data for data in (sets.reference, sets.vanilla, sets.arm) if data is not None]
    if len({data.spaces[name].shape[1] if name in data.spaces else None for data in every}) > 1:
        raise ValueError("not all arms and the reference have these features")
    scaled = Scaled.of(every[0].spaces[name][~every[0].blanked])
    found = sets.each(lambda data: replace(data, features=scaled(data.spaces[name]), spaces={}))
    return replace(found, suite=replace(sets.suite, kid_gamma=1 / sets.arm.spaces[name].shape[1]))


Quality = dict[str, dict[str, Number]]


def quality_by_features(sets: Sets, told: Mapping[str, Any], own: Quality | None = None) -> Quality:
    """Measure quality in each space of features that an arm has.

    `kid`, `precision` and `vendi` are those against the reference, each with vanilla's floor; `turned_precision_ratio` is the k-NN
    precision of the images that changed their mode as a share of vanilla's own in that mode; `kept` is the cosine of the
    images that did not with their paired samples, and its floor the mean cosine of different vanilla images of one mode.

    Features other than the encoder's and the extractor's are centred on the reference and scaled to a mean square of 1,
    and KID's kernel has the published gamma of 1/d, so that values of several spaces can be read side by side.

    Args:
        sets: arm, baseline and reference; the baseline is the arm itself where it is measured.
        told: what is measured already, whose numbers are those of the extractor, or without one of the encoder.
        own: what this function returned for the baseline; None for the baseline itself.

    Returns:
        by name of the features, an entry for each of `KEYS`.
    """
    floors, turned = own or {}, told["turned"]
    ratio = turned if isinstance(turned, Number) else turned["precision_ratio"]  # null without paired samples
    known = {key: told[key] for key in OF_REFERENCE} | {"turned_precision_ratio": ratio, "kept": _kept(sets)}
    if sets.arm.features is None:
        found = {ENCODER: known}
    else:
        plain = sets.each(lambda data: replace(data, features=None))
        plain = replace(plain, suite=replace(sets.suite, kid_gamma=1.0))
        found = {ENCODER: _measured(plain, floors.get(ENCODER)), EXTRACTOR: known}
    for name in sets.arm.spaces:
        try:
            these = in_space(sets, name)
        except ValueError as error:
            found[name] = all_missing(KEYS, str(error))
        else:
            found[name] = _measured(these, floors.get(name))
    return found


def _measured(sets: Sets, own: Mapping[str, Number] | None) -> dict[str, Number]:
    """Measure `KEYS` by the features that images are compared by."""
    shown = sets.shown()
    found = all_missing(KEYS[:4], NO_REFERENCE)
    if shown.reference is not None:
        found = against_reference(shown, shown.reference, OF_REFERENCE, own)
        found["turned_precision_ratio"] = _ratio(sets, shown.reference)
    return {**found, "kept": _kept(sets)}


def _ratio(sets: Sets, reference: ArmData) -> Number:
    pairs = sets.pairs(with_modes=True)
    if isinstance(pairs, Number):
        return pairs
    arm, vanilla = pairs
    real, own, new = (Placed(data.compared, data.modes) for data in (reference, vanilla, arm))
    found = switched_precisions(real, own, new, sets.n_modes, arm.blocks, sets.resampling, sets.suite.nearest)
    return found["precision_ratio"]


def _kept(sets: Sets) -> Number:
    """Mean cosine of the images that kept their mode with their paired samples."""
    pairs = sets.pairs(with_modes=True)
    if isinstance(pairs, Number):
        return pairs
    arm, vanilla = pairs
    with np.errstate(invalid="ignore"):  # an image may stand at the centre, and has no direction then
        found = cosines(arm.compared, vanilla.compared)
    same = kept(arm.modes, vanilla.modes) & np.isfinite(found)
    number = mean_of(found, same, arm.blocks, sets.resampling.level, "no image kept its mode", *COSINES)
    weights = np.bincount(vanilla.modes[same], minlength=sets.n_modes)
    chance = cosine_of_strangers(vanilla.compared, vanilla.modes, weights)
    return number if chance is None else number.stating(floor=chance, floor_of=FLOOR_OF_KEPT)


def cosine_of_strangers(x: NDArray[Any], modes: NDArray[np.int64], weights: NDArray[Any]) -> float | None:
    """Average the cosine of different images of one mode over all pairs, and over modes by weight.

    Args:
        x: (N, d) features.
        modes: (N,) mode of each.
        weights: (K,) at least 0.

    Returns:
        in [-1, 1]; None where no mode of positive weight has two images.

    Example:
        >>> x = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
        >>> cosine_of_strangers(x, np.array([0, 0, 1, 1]), np.array([1, 0])), cosine_of_strangers(x[1:3], np.zeros(2, int), [5])
        (0.0, 1.0)
    """
    norms = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    unit = np.divide(x, norms, out=np.zeros(x.shape), where=norms > 0)
    means, used = [], []
    for mode, weight in enumerate(weights):
        own = unit[modes == mode]
        if weight > 0 and len(own) > 1:
            pairs = np.square(own.sum(0)).sum() - np.square(own).sum()
            means.append(pairs / (len(own) * (len(own) - 1)))
            used.append(weight)
    return float(np.average(means, weights=used)) if means else None
