from __future__ import annotations

import pytest
import torch

from selfdebias.backbones import StableDiffusionBackbone
from tests.tiny import sample, tiny_pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(path)
    return path


def test_generate_is_the_pipelines_own_call(folder):
    backbone = StableDiffusionBackbone(str(folder), steps=3, guidance_scale=3.0)
    images = backbone.generate(backbone.load(), ["a person"] * 2, [4, 5])
    assert images.shape == (2, 3, 32, 32) and images.dtype == torch.float32
    assert float(images.min()) >= 0 and float(images.max()) <= 1
    assert torch.allclose(images, sample(tiny_pipeline(), [4, 5]).permute(0, 3, 1, 2), atol=1e-5)


def test_branches_follow_the_guidance_scale(folder):
    assert StableDiffusionBackbone(str(folder), 3, 3.0).branches == ("uncond", "cond")
    assert StableDiffusionBackbone(str(folder), 3, 1.0).branches == ("cond",)


def test_the_fingerprint_follows_the_weights_and_loads_nothing(folder, tmp_path):
    tiny_pipeline(seed=1).save_pretrained(tmp_path)
    first, second = (StableDiffusionBackbone(str(path), 3, 3.0).fingerprint() for path in (folder, tmp_path))
    assert first != second
    assert first == StableDiffusionBackbone(str(folder), 9, 1.0).fingerprint()
    (folder / "metrics.json").write_text("{}")
    assert first == StableDiffusionBackbone(str(folder), 3, 3.0).fingerprint()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "`model.steps` must be a whole number in .1, 10000., got 0"),
        ({"guidance_scale": 0.5}, "`model.guidance_scale` must be a number in .1, 100., got 0.5"),
        ({"guidance_scale": float("nan")}, "`model.guidance_scale`"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        StableDiffusionBackbone("x", **{"steps": 3, "guidance_scale": 3.0, **arguments})


def test_a_folder_without_a_pipeline_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="`model.pretrained` must be a diffusers pipeline, with a model_index.json"
    ):
        StableDiffusionBackbone(str(tmp_path), 3, 3.0).fingerprint()
