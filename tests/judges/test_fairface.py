"""FairFace's judge against a forward pass written out here, over random weights under the published names."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from selfdebias.judges import Judge
from selfdebias.judges.fairface import FairFaceJudge
from tests.fairface_weights import BLOCKS, published

EPS = 1e-5  # of the batch normalisation


def reference(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The 18 outputs for normalised images (B, 3, 224, 224)."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + EPS).sqrt() * scale + shift

    x = F.relu(norm(F.conv2d(x, weights["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, (_, blocks) in BLOCKS.items():
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(norm(F.conv2d(x, weights[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
            y = norm(F.conv2d(y, weights[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if stride == 2:
                x = norm(F.conv2d(x, weights[f"{name}.downsample.0.weight"], stride=2), f"{name}.downsample.1")
            x = F.relu(x + y)
    return x.mean((2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]


def normalised(images: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images - mean[:, None, None]) / std[:, None, None]


@pytest.fixture(scope="module")
def weights():
    return published()


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("fairface") / "res34_fair_align_multi_7_20190809.pt"
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def said(file, images):
    return FairFaceJudge(str(file))(images)


def test_the_published_names_load_and_give_what_is_written_out_here(weights, images, said):
    outputs = reference(weights, normalised(images))
    race, gender, age = (outputs[:, a:b].softmax(dim=1) for a, b in ((0, 7), (7, 9), (9, 18)))
    assert torch.allclose(said["race7"], race, atol=1e-5)
    assert torch.allclose(said["gender"], gender, atol=1e-5)
    wanted = torch.stack([age[:, :3].sum(1), age[:, 3:7].sum(1), age[:, 7:].sum(1)], 1)
    assert torch.allclose(said["age"], wanted, atol=1e-5)
    five = [race[:, 0], race[:, 1], race[:, 5], race[:, 3] + race[:, 4], race[:, 2] + race[:, 6]]
    assert torch.allclose(said["race"], torch.stack(five, 1), atol=1e-5)
    assert (outputs[0] - outputs[1]).abs().max() > 0.1  # the images do matter


def test_classes_are_those_of_the_other_judges_and_of_the_publication(file, said):
    judge = FairFaceJudge(str(file))
    assert isinstance(judge, Judge) and judge.encoder_id is None
    assert judge.classes["gender"] == ("man", "woman") and judge.classes["age"] == ("young", "adult", "old")
    assert judge.classes["race"] == ("white", "black", "indian", "asian", "other")
    assert judge.classes["race7"] == (
        "white", "black", "latino_hispanic", "east asian", "southeast asian", "indian", "middle eastern",
    )  # fmt: skip
    assert list(said) == list(judge.classes)
    for name, p in said.items():
        assert p.shape == (3, len(judge.classes[name])) and torch.allclose(p.sum(1), torch.ones(3), atol=1e-6)


def test_an_image_is_judged_alike_in_any_company(file, images, said):
    """Batch normalisation goes by the statistics in the file, not by the batch."""
    alone = FairFaceJudge(str(file))(images[1:2])
    assert all(torch.allclose(alone[name][0], said[name][1], atol=1e-5) for name in said)


@pytest.mark.parametrize("form", ["the format of 2019", "without counters", "safetensors"])
def test_other_forms_of_the_file_say_the_same(form, images, said, tmp_path):
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_file(published(), path)
    else:
        tensors = published(counters=form != "without counters")
        torch.save(tensors, path, _use_new_zipfile_serialization=form != "the format of 2019")
    again = FairFaceJudge(str(path))(images)
    assert all(torch.equal(again[name], said[name]) for name in said)


def test_other_sizes_are_cut_and_scaled(file, images, said):
    judge = FairFaceJudge(str(file))
    large = F.interpolate(
        images, scale_factor=2, mode="nearest"
    )  # halved again, each pixel is a mean of its own copies
    assert judge.prepare(large).shape == images.shape
    wide = torch.cat([torch.zeros(3, 3, 224, 40), images, torch.zeros(3, 3, 224, 40)], dim=3)
    assert torch.equal(judge.prepare(wide), judge.prepare(images))
    squeezed = FairFaceJudge(str(file), square=False).prepare(wide)
    wanted = F.interpolate(wide, size=(224, 224), mode="bilinear", antialias=True)
    assert torch.allclose(squeezed, normalised(wanted), atol=1e-6)


class Planted:
    """Unpickled by the usual loader, it would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_the_code_is_not_run(weights, tmp_path, zipped):
    path, trace = tmp_path / "evil.pt", tmp_path / "trace"
    torch.save({**weights, "fc.bias": Planted(trace)}, path, _use_new_zipfile_serialization=zipped)
    judge = FairFaceJudge(str(path))
    for call in (judge.fingerprint, lambda: judge(torch.zeros(1, 3, 224, 224))):
        with pytest.raises(
            ValueError, match="`judge.weights` must hold tensors by name and nothing else, got .* was not run"
        ):
            call()
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # so it was live


def changed(weights: dict[str, Tensor], what: str) -> object:
    if what == "a missing key":
        return {name: tensor for name, tensor in weights.items() if not name.startswith(("layer3.2", "layer4"))}
    if what == "a key too many":
        return {**weights, "layer1.3.conv1.weight": torch.zeros(64, 64, 3, 3)}
    if what == "another fc":
        return {**weights, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    return list(weights.values())


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("a missing key", "must have the tensor layer3.2.conv1.weight, got .* without it"),
        ("a key too many", "must hold the tensors of res34_fair.*, got .* with a tensor layer1.3.conv1.weight"),
        ("another fc", r"must have fc.weight of shape \(18, 512\), got \(1000, 512\)"),
        ("no dictionary", "must hold tensors by name, got .* with a list"),
    ],
)
def test_other_weights_are_refused_and_the_first_is_named(weights, tmp_path, what, words):
    path = tmp_path / "other.pt"
    torch.save(changed(weights, what), path)
    with pytest.raises(ValueError, match="`judge.weights` " + words):
        FairFaceJudge(str(path)).fingerprint()


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x02", b"PK\x03\x04"])
def test_a_broken_file_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(content)
    judge = FairFaceJudge(str(path))
    with pytest.raises(ValueError, match="`judge.weights` must hold tensors by name and nothing else"):
        judge.fingerprint()


def test_the_fingerprint_is_the_files_checksum_and_a_given_one_is_compared(file):
    checksum = FairFaceJudge(str(file)).fingerprint()
    assert FairFaceJudge(str(file), sha256=checksum).fingerprint() == checksum and len(checksum) == 64
    with pytest.raises(ValueError, match=f"`judge.sha256` must be the checksum of .*{checksum}, got {'0' * 64}"):
        FairFaceJudge(str(file), sha256="0" * 64)


def test_no_weights_are_said_when_it_is_made():
    with pytest.raises(FileNotFoundError, match="`judge.weights` must be the file res34_fair"):
        FairFaceJudge()
    with pytest.raises(ValueError, match=r"`judge.threshold` must be a number in \[0, 1\], got 2"):
        FairFaceJudge(threshold=2)


def test_it_needs_no_torchvision(file):
    code = (
        "import sys; sys.modules['torchvision'] = None; import torch; from selfdebias.judges.fairface import FairFaceJudge;"
        "print(len(FairFaceJudge(sys.argv[1])(torch.zeros(1, 3, 64, 64))))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "4\n", done.stderr
