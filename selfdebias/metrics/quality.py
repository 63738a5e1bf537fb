"""How good an arm's images are: the metrics against the reference, each with the floor that vanilla has, and the CLIP score."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.comparison import Sets
from selfdebias.metrics.distances import CMMD, FRECHET, KID
from selfdebias.metrics.features import chunks, cosines, features
from selfdebias.metrics.intervals import BlockBootstrap, Draws
from selfdebias.metrics.metric import INCEPTION, Metric, MetricSuite, ReferenceMetric
from selfdebias.metrics.number import NO_INTERVAL, Number, missing
from selfdebias.metrics.shares import mean_draws, mean_of, rate
from selfdebias.metrics.vendi import VENDI

FID = "fid"  # what Inception's Frechet distance is called
WIDE = 256  # columns; with fewer, differences are squared and summed one by one, exactly


def knn_covered(real: ArrayLike, fake: ArrayLike, k: int = 3) -> NDArray[np.bool_]:
    """Tell which fake points lie inside the ball of any real point; its radius reaches that point's k-th neighbour.

    Args:
        real: (N, d), N > k.
        fake: (M, d).
        k: at least 1; a point is not its own neighbour.

    Returns:
        (M,) bool.

    Raises:
        ValueError: if `real` has no more than k rows.

    References:
        arXiv 1904.06991.

    Example:
        >>> knn_covered([[0.0], [1.0], [2.0]], [[0.5], [9.0]], k=1).tolist()
        [True, False]
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    real = features(real, "real", least=k + 1).astype(np.float64, copy=False)
    fake = features(fake, "fake", least=0).astype(np.float64, copy=False)
    # A row's distance to itself, 0, is the first of the sorted ones: the k-th neighbour stands at index k.
    radii = [np.partition(_lengths(real[rows], real), k, axis=1)[:, k] for rows in chunks(len(real))]
    reach = np.concatenate(radii)
    inside = [(_lengths(fake[rows], real) <= reach).any(1) for rows in chunks(len(fake))]
    return np.concatenate([np.zeros(0, dtype=bool), *inside])


def knn_recall(real: ArrayLike, fake: ArrayLike, k: int = 3) -> float:
    """Share of real points inside the ball of any fake point: precision with the roles swapped, in [0, 1].

    Example:
        >>> knn_recall([[0.0], [1.0], [9.0]], [[0.5], [1.5]], k=1)
        0.6666666666666666
    """
    return float(knn_covered(features(fake, "fake", least=k + 1), features(real, "real"), k).mean())


def _lengths(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of (N, d) and (M, d) rows, (N, M); wide rows by one matrix product, four times as fast."""
    if x.shape[1] <= WIDE:
        return cdist(x, y)
    squares = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * (x @ y.T)
    return np.sqrt(squares.clip(0))


def _precision(arm: ArmData, reference: ArmData, suite: MetricSuite, _resampling: BlockBootstrap | None) -> Number:
    return rate(knn_covered(reference.compared, arm.compared, suite.nearest), arm.blocks, suite.level)


def _precision_draws(arm: ArmData, reference: ArmData, suite: MetricSuite, resampling: BlockBootstrap) -> Draws:
    covered = knn_covered(reference.compared, arm.compared, suite.nearest)
    return mean_draws(covered, np.ones_like(covered), arm.blocks, resampling)


def _recall(arm: ArmData, reference: ArmData, suite: MetricSuite, _resampling: BlockBootstrap | None) -> Number:
    return Number(knn_recall(reference.compared, arm.compared, suite.nearest), reason=NO_INTERVAL)


PRECISION = ReferenceMetric(
    key="precision",
    title="precision",
    meaning="share of the arm's images that lie among the reference images, by nearest neighbours; 1 is best.",
    measure=_precision,
    draws=_precision_draws,
    better="higher",
    in_sweeps=False,
)
RECALL = ReferenceMetric(
    key="recall",
    title="recall",
    meaning="share of the reference images that lie among the arm's images, by nearest neighbours; 1 is best.",
    measure=_recall,
    better="higher",
    interval=False,
    in_sweeps=False,
)

# Those against the reference, in the order of tables.
METRICS: tuple[ReferenceMetric, ...] = (FRECHET, KID, CMMD, PRECISION, RECALL, VENDI)
CLIP_SCORE = Metric(
    key="clip_score",
    title="CLIP score",
    meaning="100 times the cosine of image and prompt, at least 0, so from 0 to 100; comparable under one encoder alone, and "
    "shown where at most half of the images are at 0.",
    better="higher",
)


def against_reference(
    sets: Sets, reference: ArmData, keys: Sequence[str] | None = None, own: Mapping[str, Number] | None = None
) -> dict[str, Number]:
    """Measure each metric of an arm against the reference, each with the floor that vanilla images have.

    The floor is the same measure of the vanilla arm against the same reference; for the vanilla arm itself it is that of
    one half of the reference against the other, and `floor_of` says which. CMMD compares images by the encoder's unit
    embeddings always, the others by the extractor's features where there is one; `features` is the width of those used.
    The Frechet distance and recall have no interval, and their `reason` says why.

    Args:
        sets: the arm and the vanilla arm, without flagged images.
        reference: vanilla images of other seeds.
        keys: of metrics, all by default; `frechet_distance` is called `fid` where Inception made the features (`keys_for`).
        own: what is measured of the vanilla arm against this reference, where it is: the floors need not be measured again.
    """
    floor_of, left, right = sets.floor_pair(reference)
    arm, results = sets.arm, {}
    for key in keys or keys_for({}):
        metric = next(metric for metric in METRICS if metric.key == (FRECHET.key if key == FID else key))
        dim = (arm.e if metric.by_encoder else arm.compared).shape[1]
        sizes = {"n": len(arm), "reference_n": len(reference), "features": dim, "floor_of": floor_of}
        least = own[key] if own else _measured(metric, left, right, sets.suite, None)
        floor = {"floor": least.value} | ({"floor_reason": least.reason} if least.value is None else {})
        results[key] = _measured(metric, arm, reference, sets.suite, sets.resampling).stating(**sizes, **floor)
    return results


def keys_for(features: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of an arm's distances by these features: FID is the name of Inception's Frechet distance alone.

    Example:
        >>> keys_for({"name": "emoji_clip", "dim": 64})[0], keys_for({"name": INCEPTION, "dim": 2048})[0]
        ('frechet_distance', 'fid')
    """
    keys = (metric.key for metric in METRICS)
    return tuple(FID if key == FRECHET.key and features.get("name") == INCEPTION else key for key in keys)


def _measured(
    metric: ReferenceMetric, arm: ArmData, reference: ArmData, suite: MetricSuite, resampling: BlockBootstrap | None
) -> Number:
    """Measure, and turn a refusal (too few images) into a null with the reason, a warning into a part of the number."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            number = metric.measure(arm, reference, suite, resampling)
        except ValueError as error:
            return missing(str(error))
    return number.stating(warning=str(caught[0].message)) if caught else number


def clip_scores(e: ArrayLike, text_e: ArrayLike) -> NDArray[np.float64]:
    """Score of each image against its text, `max(100 cos(e_image, e_text), 0)`, in [0, 100].

    The published score has 2.5 in place of 100 and puts "A photo depicts" before the text; here the text is taken as
    the model was given it. Scores are comparable under the same encoder only. Arguments and errors as for `cosines`.

    References:
        arXiv 2104.08718.

    Example:
        >>> clip_scores([[2.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [0.0, -1.0]]).round(6).tolist()
        [60.0, 0.0]
    """
    return (100 * cosines(e, text_e)).clip(0)


def prompt_scores(e: ArrayLike, prompts: Sequence[str], encoder: Any) -> NDArray[np.float64] | None:
    """Score each image against its own prompt; each different prompt is embedded once.

    Args:
        e: (N, d) embeddings of images.
        prompts: the N prompts that they were drawn from.
        encoder: what embedded them; its `embed_text` turns V texts into (V, d) tensors, where it has one.

    Returns:
        (N,) float64, NaN where the prompt is blank; None where the encoder embeds no text.
    """
    if not hasattr(encoder, "embed_text"):
        return None
    e, scores = np.asarray(e), np.full(len(prompts), np.nan)
    rows = [i for i, prompt in enumerate(prompts) if prompt.strip()]
    if rows:
        texts, index = np.unique([prompts[i] for i in rows], return_inverse=True)
        scores[rows] = clip_scores(e[rows], encoder.embed_text(texts.tolist()).double().numpy()[index])
    return scores


def clip_score_of(arm: ArmData, level: float) -> Number:
    """Average the CLIP score over the images that were drawn from a prompt.

    `at_zero` counts the images whose score is 0, its lower bound: where they are many, the mean says little.
    """
    if arm.clip_score is None:
        return missing("the encoder embeds no text")
    prompted, at_zero = np.isfinite(arm.clip_score), int((arm.clip_score == 0).sum())
    reason = "no image was drawn from a prompt"
    return mean_of(arm.clip_score, prompted, arm.blocks, level, reason, least=0, most=100).stating(at_zero=at_zero)


def silence_clip_scores(arms: Mapping[str, dict[str, Any]]) -> None:
    """Make the CLIP score of each arm null where it says nothing: of all arms' images more than half are at the lower bound.

    Then a mean is that of few images, and may move while hardly any image does.

    Args:
        arms: by arm, its numbers; those of `clip_score_of` are changed.

    Example:
        >>> few, many = (Number(0.5, n=32, more={"at_zero": at_zero}) for at_zero in (10, 30))
        >>> arms = {"vanilla": {"clip_score": few}, "guided": {"clip_score": many}}
        >>> silence_clip_scores(arms)
        >>> arms["vanilla"]["clip_score"].reason
        '40 of 64 images of all arms are at its lower bound of 0, so it says nothing'
    """
    known = [arm for arm in arms.values() if arm["clip_score"].value is not None]
    at_zero, n = sum(arm["clip_score"].more["at_zero"] for arm in known), sum(arm["clip_score"].n or 0 for arm in known)
    reason = f"{at_zero} of {n} images of all arms are at its lower bound of 0, so it says nothing"
    for arm in known if 2 * at_zero > n else ():
        arm["clip_score"] = missing(reason, n=arm["clip_score"].n, **arm["clip_score"].more)
