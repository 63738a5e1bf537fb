from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from selfdebias.encoders import ClipEncoder
from selfdebias.modes.naming import NoVocabulary, Vocabulary, tell_apart


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_planted_captions_are_found_and_chance_is_not():
    """Mode 1 lies towards captions 3 and 7; fifty more captions are noise."""
    rng = np.random.default_rng(0)
    texts = _unit(rng.normal(size=(60, 64)))
    labels = np.repeat([0, 1], [40, 24])
    e = rng.normal(size=(64, 64)) / 8
    e[labels == 1] += 0.6 * texts[3] + 0.3 * texts[7]
    found = tell_apart(_unit(e), labels, texts, [f"caption {v}" for v in range(60)], most=5, level=0.05)
    assert [it["caption"] for it in found[1]][:2] == ["caption 3", "caption 7"]
    shuffled = tell_apart(_unit(e), rng.permutation(labels), texts, [str(v) for v in range(60)], most=60, level=0.05)
    assert shuffled == [[], []]


def test_effect_and_p_agree_with_a_reference():
    rng = np.random.default_rng(1)
    e, texts, labels = _unit(rng.normal(size=(30, 4))), _unit(rng.normal(size=(3, 4))), np.arange(30) % 3
    found = tell_apart(e, labels, texts, "abc", most=3, level=1 - 1e-9)
    for k, mode in enumerate(found):
        for it in mode:
            cosine = e @ texts["abc".index(it["caption"])]
            inside, outside = cosine[labels == k], cosine[labels != k]
            pooled = np.sqrt((np.var(inside, ddof=1) + np.var(outside, ddof=1)) / 2)
            assert it["effect"] == pytest.approx((inside.mean() - outside.mean()) / pooled)
            p = stats.ttest_ind_from_stats(
                inside.mean(), inside.std(ddof=1), len(inside), outside.mean(), outside.std(ddof=1), len(outside),
                equal_var=False, alternative="greater",
            ).pvalue  # fmt: skip
            assert it["p"] == pytest.approx(min(1, 9 * p))
        assert [it["effect"] for it in mode] == sorted((it["effect"] for it in mode), reverse=True)


@pytest.mark.parametrize("name", ["emoji", "general"])
def test_shipped_vocabularies_hold_different_captions(name):
    captions = Vocabulary(f"shipped:{name}").captions()
    assert len(captions) == len(set(captions)) > 50


def test_the_text_tower_tells_men_from_women_with_the_shipped_encoder():
    """Rows are the text embeddings themselves: the caption of each mode must come out first."""
    encoder = ClipEncoder("shipped:emoji_clip")
    texts = encoder.embed_text(["an emoji of a man", "an emoji of a woman"])
    assert torch.allclose(texts.norm(dim=1), torch.ones(2), atol=1e-5)
    rng = np.random.default_rng(0)
    e = _unit(np.repeat(texts.double().numpy(), 8, axis=0) + 0.05 * rng.normal(size=(16, 64)))
    found = Vocabulary("shipped:emoji").describe(e, np.repeat([0, 1], 8), encoder)
    assert "an emoji of a man" in [it["caption"] for it in found[0]]
    assert "an emoji of a woman" in [it["caption"] for it in found[1]]


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="`vocabulary.path` must be a text file or shipped:NAME, got 'nowhere.txt'"
    ):
        Vocabulary("nowhere.txt").captions()
    (tmp_path / "v.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match="holds a caption"):
        Vocabulary(str(tmp_path / "v.txt")).captions()
    with pytest.raises(ValueError, match="choose vocabulary=none"):
        Vocabulary("shipped:emoji").check(object())
    with pytest.raises(ValueError, match="`vocabulary.level`"):
        Vocabulary("shipped:emoji", level=0.0)
    assert NoVocabulary().describe(np.zeros((2, 2)), np.array([0, 1]), object()) == [[], []]
