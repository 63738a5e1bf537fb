"""CLIP score: how well each image goes with the text that it was drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.features import paired
from selfdebias.metrics.number import Number, missing
from selfdebias.metrics.shares import mean_of

Array = NDArray[np.float64]


def clip_scores(e: ArrayLike, text_e: ArrayLike) -> Array:
    """Score of each image against its text, `max(100 cos(e_image, e_text), 0)`, in [0, 100].

    The published score has 2.5 in place of 100 and puts "A photo depicts" before the text; here the text is taken as
    the model was given it. Scores are comparable under the same encoder only.

    Args:
        e: (N, d) embeddings of images, no row of zeros.
        text_e: (N, d) embeddings of their texts, in the same space and order.

    Returns:
        (N,) float64.

    Raises:
        ValueError: if the shapes differ.

    References:
        arXiv 2104.08718.

    Example:
        >>> clip_scores([[2.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [0.0, -1.0]]).round(6).tolist()
        [60.0, 0.0]
    """
    e, text_e = (a.astype(np.float64, copy=False) for a in paired(e, text_e, least=0))
    if len(e) != len(text_e):
        raise ValueError(f"`text_e` must have {len(e)} rows, got {len(text_e)}.")
    cosines = (e * text_e).sum(1) / (np.linalg.norm(e, axis=1) * np.linalg.norm(text_e, axis=1))
    return (100 * cosines).clip(0)


def prompt_scores(e: ArrayLike, prompts: Sequence[str], encoder: Any) -> Array | None:
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


def silent_clip_score(scores: Sequence[Number]) -> str:
    """Say why CLIP scores say nothing, "" where they do: of all arms' images more than half are at the lower bound.

    Then a mean is that of few images, and may move while hardly any image does.

    Args:
        scores: what `clip_score_of` returned for each arm.

    Example:
        >>> silent_clip_score([Number(0.2, n=32, more={"at_zero": 30}), Number(0.9, n=32, more={"at_zero": 10})])
        '40 of 64 images of all arms are at its lower bound of 0, so it says nothing'
        >>> silent_clip_score([Number(20.0, n=32, more={"at_zero": 16})])
        ''
    """
    known = [score for score in scores if score.value is not None]
    at_zero, n = sum(score.more["at_zero"] for score in known), sum(score.n or 0 for score in known)
    if 2 * at_zero <= n:
        return ""
    return f"{at_zero} of {n} images of all arms are at its lower bound of 0, so it says nothing"
