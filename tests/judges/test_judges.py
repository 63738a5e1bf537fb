"""The judge protocol and the rule for unclassified images."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from selfdebias.judges import Judge, classify, emoji_classes
from selfdebias.storage import StorageError
from selfdebias.testbed import shipped


class Coin:
    classes = {"side": ("heads", "tails")}  # noqa: RUF012
    threshold = 0.5
    encoder_id = None

    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"side": torch.full((len(images), 2), 0.5)}


def test_protocol_asks_for_classes_threshold_and_encoder():
    assert isinstance(Coin(), Judge)
    assert not isinstance(lambda images: {}, Judge)


def test_confidence_at_the_threshold_is_enough():
    labels, unclassified = classify(torch.tensor([[0.5, 0.5, 0.0], [0.4, 0.3, 0.3], [0.0, 0.2, 0.8]]), 0.5)
    assert labels.tolist() == [0, 0, 2]
    assert unclassified.tolist() == [False, True, False]


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_threshold_outside_the_unit_interval_is_refused(threshold):
    with pytest.raises(ValueError, match="`threshold` must be between 0 and 1"):
        classify(torch.ones(1, 2), threshold)


def test_probabilities_of_one_image_alone_are_refused():
    with pytest.raises(ValueError, match=r"`probabilities` must have shape \(B, C\)"):
        classify(torch.ones(2), 0.5)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "clip"}, "must be an EmojiJudge's, with `classes` by attribute"),
        ({"classes": {"gender": ["man"]}}, "must be an EmojiJudge's, with `classes` by attribute"),
        ({"classes": {"gender": ["man", "woman"]}}, "must be a folder with a model.safetensors"),
        (None, "config.json` must be a file of JSON that can be read: it is damaged"),
    ],
)
def test_a_folder_that_is_no_judge_is_refused_before_anything_is_drawn(tmp_path, config, words):
    (tmp_path / "config.json").write_text("{" if config is None else json.dumps(config))
    with pytest.raises((ValueError, OSError, StorageError), match=words):
        emoji_classes(str(tmp_path))
    shutil.copy(shipped("emoji_judge") / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"classes": {"gender": ["man", "woman"]}}))
    assert emoji_classes(str(tmp_path)) == {"gender": ("man", "woman")}
