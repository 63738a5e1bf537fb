"""CLIP score against a loop, and which images have one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from selfdebias.metrics.quality import clip_scores, prompt_scores


def test_score_is_a_hundred_times_the_cosine_where_that_is_above_zero():
    e, text_e = np.random.default_rng(0).normal(size=(2, 30, 5))
    cosines = [a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b)) for a, b in zip(e, text_e, strict=True)]
    assert clip_scores(e, text_e) == pytest.approx([max(100 * c, 0) for c in cosines], rel=1e-12)
    assert 0 < (clip_scores(e, text_e) == 0).sum() < 30
    assert clip_scores(3 * e, text_e) == pytest.approx(clip_scores(e, 0.1 * text_e), rel=1e-12)
    with pytest.raises(ValueError, match="`others` must have 30 rows, got 1"):
        clip_scores(e, text_e[:1])


class Texts:
    """A text tower that turns a text into its length and number of words, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_text(self, texts: list[str]) -> Tensor:
        self.asked += texts
        return torch.tensor([[len(text), len(text.split())] for text in texts]).float()


def test_each_image_is_held_against_its_own_prompt_and_each_prompt_embedded_once():
    texts, e = Texts(), np.eye(2)[[0, 1, 0, 1]]
    scores = prompt_scores(e, ["a b", "abc", " ", "a b"], texts)
    assert texts.asked == ["a b", "abc"]
    expected = [3 / np.hypot(3, 2), 1 / np.hypot(3, 1), np.nan, 2 / np.hypot(3, 2)]
    assert scores == pytest.approx(100 * np.array(expected), nan_ok=True)


def test_no_text_tower_and_no_prompt_are_told_apart():
    assert prompt_scores(np.eye(2), ["a", "b"], object()) is None
    assert np.isnan(prompt_scores(np.eye(2), ["", " "], Texts())).all()
