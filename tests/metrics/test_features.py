"""Features that guidance does not act in: what they are, that images pass through a judge once, and how they are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from selfdebias.metrics.arms import load_arm, pool, save_arm
from selfdebias.metrics.features import compact, features_of, judged_with_features, pixel_averages
from tests.metrics.test_summary import arm


class Encoder:
    encoder_id = "the-encoder"


class Judge:
    """Sees the mean colour; counts how often images pass through it."""

    encoder_id, passes = None, 0

    def __call__(self, images):
        self.passes += 1
        return {"colour": images.mean((2, 3)).softmax(1)}


class Seeing(Judge):
    def __call__(self, images):
        return self.from_features(self.features(images))

    def features(self, images):
        self.passes += 1
        return images.mean((2, 3))

    def from_features(self, features):
        return {"colour": features.softmax(1)}


IMAGES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_pixels_are_averages_of_cells_by_colour():
    found = pixel_averages(IMAGES).reshape(5, 3, 16, 16)
    for channel, row, column in ((0, 0, 0), (2, 15, 3), (1, 7, 8)):
        cell = IMAGES[:, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.allclose(found[:, channel, row, column], cell.mean((1, 2)))
    assert pixel_averages(IMAGES[:, :, :8, :8]).shape == (5, 768)


@pytest.mark.parametrize(("judge", "names"), [(Judge(), ["pixels"]), (Seeing(), ["judge", "pixels"])])
def test_images_pass_through_the_judge_once(judge, names):
    said, spaces = judged_with_features(judge, Encoder(), IMAGES)
    assert judge.passes == 1 and list(spaces) == names
    assert torch.equal(said["colour"], judge(IMAGES)["colour"])
    assert all(x.dtype == torch.float16 and len(x) == 5 for x in spaces.values())


def test_a_judge_that_rests_on_the_encoder_has_no_features_of_its_own():
    judge = Seeing()
    assert features_of(judge, Encoder()) is not None
    judge.encoder_id = Encoder.encoder_id
    assert features_of(judge, Encoder()) is None and features_of(judge, object()) is not None


def test_features_that_are_none_are_refused():
    judge = Seeing()
    judge.features = lambda images: images
    with pytest.raises(ValueError, match=r"`judge.features` must return one row of features per image, got \(5, 3"):
        judged_with_features(judge, Encoder(), IMAGES)


def test_what_is_too_large_for_half_precision_keeps_its_value():
    assert compact(torch.tensor([[7e4, 1.0]])).tolist() == [[7e4, 1.0]]
    assert compact(torch.tensor([[0.25]], requires_grad=True)).tolist() == [[0.25]]


def with_spaces(data, names=("judge", "pixels"), seed=0):
    draw = np.random.default_rng(seed)
    return replace(data, spaces={name: draw.random((len(data), 6)).astype(np.float16) for name in names})


def test_saved_features_come_back_and_go_with_their_rows(tmp_path):
    data = with_spaces(arm("guided", 3))
    save_arm(tmp_path, data)
    back = load_arm(tmp_path, "guided")
    assert list(back.spaces) == ["judge", "pixels"]
    for name, x in data.spaces.items():
        assert back.spaces[name].dtype == np.float16 and np.array_equal(back.spaces[name], x)
        assert np.array_equal(back.rows(np.array([7, 2])).spaces[name], x[[7, 2]])


def test_what_was_saved_before_there_were_such_features_is_read_and_pooled_without_them(tmp_path):
    save_arm(tmp_path, arm("guided", 3))
    old, new = load_arm(tmp_path, "guided"), with_spaces(arm("guided", 5, first_seed=900))
    assert old.spaces == {} and pool([old, new]).spaces == {}
    one, other = with_spaces(arm("guided", 3), ["judge", "pixels"], 1), with_spaces(new, ["pixels"], 2)
    pooled = pool([one, other])
    assert list(pooled.spaces) == ["pixels"]
    assert np.array_equal(pooled.spaces["pixels"], np.concatenate([one.spaces["pixels"], other.spaces["pixels"]]))
