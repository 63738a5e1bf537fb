"""Quality by features: in the encoder's space, which guidance acts in, and in others, which it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdebias.metrics.arms import ArmData, Placed
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.features import features
from selfdebias.metrics.number import Number, all_missing, missing
from selfdebias.metrics.preservation import twin_cosine
from selfdebias.metrics.quality import distances
from selfdebias.metrics.shares import mean_of
from selfdebias.metrics.suite import MetricSuite
from selfdebias.metrics.turned import turned_precisions
from selfdebias.metrics.twins import NO_MODES, NO_REFERENCE, Comparison, kept, shown_twins

Array = NDArray[np.float64]
KEYS = ("kid", "precision", "turned_precision_ratio", "kept")
ENCODER, EXTRACTOR = "encoder", "extractor"
COSINES = (-1.0, 1.0)  # their range
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


@dataclass(frozen=True)
class Sets:
    """What quality is measured on: an arm, the arm that it is compared with, and the reference, blanked images among them."""

    arm: ArmData
    vanilla: ArmData | None
    reference: ArmData | None

    def each(self, change: Callable[[ArmData], ArmData]) -> Sets:
        """Change all that are there."""
        vanilla, reference = (None if data is None else change(data) for data in (self.vanilla, self.reference))
        return Sets(change(self.arm), vanilla, reference)

    def without_blanked(self) -> Sets:
        """The images that no safety checker replaced."""
        return self.each(lambda data: data.rows(~data.blanked))

    def by(self, name: str) -> Sets:
        """Compare images by the features `name`, scaled as the reference asks, without it as the baseline.

        Raises:
            ValueError: if a set lacks the features, or has them of another width, or they cannot be scaled.
        """
        every = [data for data in (self.reference, self.vanilla, self.arm) if data is not None]
        if len({data.spaces[name].shape[1] if name in data.spaces else None for data in every}) > 1:
            raise ValueError("not all arms and the reference have these features")
        scaled = Scaled.of(every[0].spaces[name][~every[0].blanked])
        return self.each(lambda data: replace(data, features=scaled(data.spaces[name]), spaces={}))


Quality = dict[str, dict[str, Number]]


def quality_by_features(
    sets: Sets,
    told: Mapping[str, Any],
    n_modes: int,
    suite: MetricSuite,
    resampling: BlockBootstrap,
    compared: Comparison,
    own: Quality | None = None,
) -> Quality:
    """Measure quality in each space of features that an arm has.

    `kid` and `precision` are against the reference, each with vanilla's floor; `turned_precision_ratio` is the k-NN
    precision of the images that changed their mode as a share of vanilla's own in that mode; `kept` is the cosine of the
    images that did not with their twins, and its floor the mean cosine of different vanilla images of one mode.

    Features other than the encoder's and the extractor's are centred on the reference and scaled to a mean square of 1,
    and KID's kernel has the published gamma of 1/d, so that values of several spaces can be read side by side.

    Args:
        sets: arm, baseline and reference; the baseline is the arm itself where it is measured.
        told: what is measured already, whose numbers are those of the extractor, or without one of the encoder.
        n_modes: K, 0 where no modes are known.
        suite: fixed choices of the metrics.
        resampling: repeats, seed and level.
        compared: which arm is the baseline.
        own: what this function returned for the baseline; None for the baseline itself.

    Returns:
        by name of the features, an entry for each of `KEYS`.
    """
    floors = own or {}
    first = ENCODER if sets.arm.features is None else EXTRACTOR
    found = {first: _told(sets, told, n_modes, resampling, compared)}
    if first == EXTRACTOR:
        plain = sets.each(lambda data: replace(data, features=None))
        found = {
            ENCODER: _measured(
                plain, n_modes, replace(suite, kid_gamma=1.0), resampling, compared, floors.get(ENCODER)
            ),
            **found,
        }
    for name, x in sets.arm.spaces.items():
        try:
            these = sets.by(name)
        except ValueError as error:
            found[name] = all_missing(KEYS, str(error))
        else:
            choices = replace(suite, kid_gamma=1 / x.shape[1]), resampling, compared
            found[name] = _measured(these, n_modes, *choices, floors.get(name))
    return found


def _told(
    sets: Sets, told: Mapping[str, Any], n_modes: int, resampling: BlockBootstrap, compared: Comparison
) -> dict[str, Number]:
    """What is measured already, and the cosine of kept images with its floor."""
    turned = told["turned"]
    ratio = turned if isinstance(turned, Number) else turned["precision_ratio"]  # null without twins
    own = {key: told[key] for key in ("kid", "precision")}
    return {**own, "turned_precision_ratio": ratio, "kept": _kept(sets, n_modes, resampling, compared)}


def _measured(
    sets: Sets,
    n_modes: int,
    suite: MetricSuite,
    resampling: BlockBootstrap,
    compared: Comparison,
    own: Mapping[str, Number] | None,
) -> dict[str, Number]:
    """Measure `KEYS` by the features that images are compared by."""
    shown = sets.without_blanked()
    arm, vanilla, reference = shown.arm, shown.vanilla, shown.reference
    found = all_missing(KEYS[:3], NO_REFERENCE)
    if reference is not None:
        baseline = None if arm.arm == compared.baseline else vanilla
        found = distances(arm, baseline, reference, suite, resampling, compared.baseline, KEYS[:2], own)
        found["turned_precision_ratio"] = _ratio(sets, reference, n_modes, suite, resampling, compared)
    return {**found, "kept": _kept(sets, n_modes, resampling, compared)}


def _ratio(
    sets: Sets, reference: ArmData, n_modes: int, suite: MetricSuite, resampling: BlockBootstrap, compared: Comparison
) -> Number:
    reason = compared.why_no_twins(sets.arm, sets.vanilla) or ("" if n_modes else NO_MODES)
    if reason or sets.vanilla is None:
        return missing(reason)
    arm, vanilla = shown_twins(sets.arm, sets.vanilla)
    real, own, new = (Placed(data.compared, data.modes) for data in (reference, vanilla, arm))
    return turned_precisions(real, own, new, n_modes, arm.blocks, resampling, suite.nearest)["precision_ratio"]


def _kept(sets: Sets, n_modes: int, resampling: BlockBootstrap, compared: Comparison) -> Number:
    """Mean cosine of the images that kept their mode with their twins."""
    reason = compared.why_no_twins(sets.arm, sets.vanilla) or ("" if n_modes else NO_MODES)
    if reason or sets.vanilla is None:
        return missing(reason)
    arm, vanilla = shown_twins(sets.arm, sets.vanilla)
    with np.errstate(invalid="ignore"):  # an image may stand at the centre, and has no direction then
        cosines = twin_cosine(arm.compared, vanilla.compared)
    same = kept(arm.modes, vanilla.modes) & np.isfinite(cosines)
    number = mean_of(cosines, same, arm.blocks, resampling.level, "no image kept its mode", *COSINES)
    chance = cosine_of_strangers(vanilla.compared, vanilla.modes, np.bincount(vanilla.modes[same], minlength=n_modes))
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
