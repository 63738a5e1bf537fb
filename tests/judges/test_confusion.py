"""What a judge may state of its own error, and what the results say of it."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest

from selfdebias.judges import Confusion
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.judges.labelled import summarise_error
from selfdebias.metrics.corrected import confusion_rates, corrected_shares
from selfdebias.testbed import shipped

CLASSES = {"side": ("heads", "tails"), "metal": ("gold", "tin"), "year": ("old", "new")}


def test_what_is_measured_goes_before_what_is_stated_and_the_rest_has_a_reason():
    stated = {name: Confusion([[5, 5], [0, 10]], 1, 0, "old coins") for name in ("side", "metal")}
    error = summarise_error(CLASSES, stated, {"side": Confusion([[4, 0], [1, 3]], 2, 3, "labelled folder coins")})
    assert error["side"] == {
        "counts": [[4, 0], [1, 3]], "accuracy": 7 / 8, "n": 8, "unclassified": 2, "skipped": 3,
        "source": "labelled folder coins",
    }  # fmt: skip
    assert error["metal"]["source"] == "stated by the judge: old coins" and error["metal"]["accuracy"] == 0.75
    assert error["year"]["value"] is None and "`evaluate.labelled` has no images of it" in error["year"]["reason"]
    assert list(error) == list(CLASSES)
    json.dumps(error, allow_nan=False)


def test_a_class_without_a_classified_image_leaves_the_matrix_unknown():
    error = summarise_error(CLASSES, {}, {"side": Confusion([[4, 0], [0, 0]], 2, 0, "coins")})
    assert error["side"]["value"] is None and error["side"]["reason"] == "no labelled image of tails was classified"
    assert error["side"]["n"] == 4 and "counts" not in error["side"]


@pytest.mark.parametrize("counts", [[[1, 2]], [[1, 2], [3]], [[1, -1], [0, 1]]])
def test_what_is_no_matrix_is_refused(counts):
    with pytest.raises(ValueError, match="`counts` must be a square matrix"):
        Confusion(counts, 0, 0, "")


def test_accuracy_of_no_image_is_unknown():
    assert math.isnan(Confusion([[0, 0], [0, 0]], 3, 0, "").accuracy)


def test_the_shipped_judge_states_a_matrix_that_corrects_each_of_its_attributes():
    judge = EmojiJudge()
    assert judge.confusion is not None and judge.confusion.keys() == judge.classes.keys()
    for name, it in judge.confusion.items():
        assert len(it.counts) == len(judge.classes[name]) and it.n >= 1000
        assert it.accuracy >= 0.98, name
        rates = confusion_rates(it.counts)
        p = np.arange(1, len(rates) + 1) / np.arange(1, len(rates) + 1).sum()
        assert np.allclose(corrected_shares(p @ rates, rates), p)


def test_it_states_nothing_at_another_threshold_or_without_the_file(tmp_path):
    assert EmojiJudge(threshold=0.9).confusion is None
    folder = shutil.copytree(shipped("emoji_judge"), tmp_path / "judge")
    before = EmojiJudge(str(folder))
    assert before.confusion and before.fingerprint() == EmojiJudge().fingerprint()
    (folder / "confusion.json").unlink()
    assert EmojiJudge(str(folder)).confusion is None
    assert EmojiJudge(str(folder)).fingerprint() != EmojiJudge().fingerprint()
