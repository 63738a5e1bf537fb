from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from selfdebias.encoders import ClipEncoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A real CLIP model, narrow and random, with the preprocessing of the published ones at 32 px."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip")
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 50,
    }
    vision = {**text, "image_size": 32, "patch_size": 8}
    del vision["vocab_size"]
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(path)
    return path


def _pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    smooth = [rng.random((6, 9, 3)), rng.random((5, 5, 3)), rng.random((8, 4, 3))]
    sizes = [(90, 60), (64, 64), (40, 80)]
    return [Image.fromarray((x * 255).astype("uint8")).resize(size, 3) for x, size in zip(smooth, sizes, strict=True)]


def test_embeddings_agree_with_the_librarys_own_processor(folder):
    encoder, processor = ClipEncoder(str(folder)), CLIPImageProcessor.from_pretrained(folder)
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    for picture in _pictures():
        pixels = processor(picture, return_tensors="pt").pixel_values
        with torch.no_grad():
            wanted = torch.nn.functional.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=1)
        image = torch.from_numpy(np.asarray(picture)).permute(2, 0, 1)[None].float() / 255
        assert float((encoder(image) * wanted).sum()) > 0.99


def test_unit_vectors_of_the_configured_width_frozen_and_differentiable(folder):
    encoder = ClipEncoder(str(folder))
    images = torch.rand(3, 3, 32, 32, requires_grad=True)
    e = encoder(images)
    assert e.shape == (3, 12) and encoder.dim == 12 and e.dtype == torch.float32
    assert torch.allclose(e.norm(dim=1), torch.ones(3), atol=1e-5)
    (gradient,) = torch.autograd.grad(e[:, 0].sum(), images)
    assert float(gradient.abs().max()) > 0
    assert not any(p.requires_grad for p in encoder.load().parameters())


def test_the_fingerprint_follows_the_weights(folder, tmp_path):
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32)
    before = ClipEncoder(str(folder)).fingerprint()
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 1
    model.save_pretrained(tmp_path)
    CLIPImageProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    assert ClipEncoder(str(tmp_path)).fingerprint() != before == ClipEncoder(str(folder)).fingerprint()


def test_a_folder_that_lacks_a_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="`encoder.pretrained` must be a model with a config.json"):
        ClipEncoder(str(tmp_path)).fingerprint()


@pytest.mark.parametrize(
    "said",
    [{"resample": 1}, {"size": {"longest_edge": 32}}, {"do_normalize": False}, {"crop_size": {"shortest_edge": 32}}],
)
def test_preprocessing_that_there_is_not_here_is_refused_when_the_model_is_loaded(folder, tmp_path, said):
    shutil.copytree(folder, tmp_path / "model")
    file = tmp_path / "model" / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **said}))
    with pytest.raises(
        ValueError, match="`encoder.pretrained` must be a model whose preprocessor_config.json has image_mean"
    ):
        ClipEncoder(str(tmp_path / "model")).load()
