"""FID's Inception-v3: the published names and shapes load, each block is what a plain formula says, and pickles are refused."""

from __future__ import annotations

import hashlib
import os
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.config import compose as config
from selfdebias.config.rules import ConfigError
from selfdebias.config.targets import make
from selfdebias.encoders import InceptionFeatures
from selfdebias.encoders.inception import InceptionV3
from selfdebias.jobs.parts import Parts
from selfdebias.metrics import MetricSuite

# Height and width of each convolution by block, and its channels (from, to): what the published file holds.
STEM = {
    "Conv2d_1a_3x3": (3, 32, 3, 3), "Conv2d_2a_3x3": (32, 32, 3, 3), "Conv2d_2b_3x3": (32, 64, 3, 3),
    "Conv2d_3b_1x1": (64, 80, 1, 1), "Conv2d_4a_3x3": (80, 192, 3, 3),
}  # fmt: skip


def block_a(c: int, pooled: int) -> dict[str, tuple[int, int, int, int]]:
    return {
        "branch1x1": (c, 64, 1, 1), "branch5x5_1": (c, 48, 1, 1), "branch5x5_2": (48, 64, 5, 5),
        "branch3x3dbl_1": (c, 64, 1, 1), "branch3x3dbl_2": (64, 96, 3, 3), "branch3x3dbl_3": (96, 96, 3, 3),
        "branch_pool": (c, pooled, 1, 1),
    }  # fmt: skip


def block_c(c: int, k: int) -> dict[str, tuple[int, int, int, int]]:
    return {
        "branch1x1": (c, 192, 1, 1), "branch7x7_1": (c, k, 1, 1), "branch7x7_2": (k, k, 1, 7), "branch7x7_3": (k, 192, 7, 1),
        "branch7x7dbl_1": (c, k, 1, 1), "branch7x7dbl_2": (k, k, 7, 1), "branch7x7dbl_3": (k, k, 1, 7),
        "branch7x7dbl_4": (k, k, 7, 1), "branch7x7dbl_5": (k, 192, 1, 7), "branch_pool": (c, 192, 1, 1),
    }  # fmt: skip


def block_e(c: int) -> dict[str, tuple[int, int, int, int]]:
    return {
        "branch1x1": (c, 320, 1, 1), "branch3x3_1": (c, 384, 1, 1), "branch3x3_2a": (384, 384, 1, 3),
        "branch3x3_2b": (384, 384, 3, 1), "branch3x3dbl_1": (c, 448, 1, 1), "branch3x3dbl_2": (448, 384, 3, 3),
        "branch3x3dbl_3a": (384, 384, 1, 3), "branch3x3dbl_3b": (384, 384, 3, 1), "branch_pool": (c, 192, 1, 1),
    }  # fmt: skip


BLOCKS = {
    "Mixed_5b": block_a(192, 32), "Mixed_5c": block_a(256, 64), "Mixed_5d": block_a(288, 64),
    "Mixed_6a": {
        "branch3x3": (288, 384, 3, 3), "branch3x3dbl_1": (288, 64, 1, 1), "branch3x3dbl_2": (64, 96, 3, 3),
        "branch3x3dbl_3": (96, 96, 3, 3),
    },
    "Mixed_6b": block_c(768, 128), "Mixed_6c": block_c(768, 160), "Mixed_6d": block_c(768, 160),
    "Mixed_6e": block_c(768, 192),
    "Mixed_7a": {
        "branch3x3_1": (768, 192, 1, 1), "branch3x3_2": (192, 320, 3, 3), "branch7x7x3_1": (768, 192, 1, 1),
        "branch7x7x3_2": (192, 192, 1, 7), "branch7x7x3_3": (192, 192, 7, 1), "branch7x7x3_4": (192, 192, 3, 3),
    },
    "Mixed_7b": block_e(1280), "Mixed_7c": block_e(2048),
}  # fmt: skip
UNITS = STEM | {f"{block}.{name}": shape for block, units in BLOCKS.items() for name, shape in units.items()}


def published(seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under the published names, scaled so that activations neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, (inputs, outputs, height, width) in UNITS.items():
        spread = (2 / (inputs * height * width)) ** 0.5
        state[f"{name}.conv.weight"] = torch.randn(outputs, inputs, height, width, generator=generator) * spread
        for part, low, high in (("weight", 0.8, 1.2), ("bias", -0.2, 0.2), ("running_mean", -0.2, 0.2)):
            state[f"{name}.bn.{part}"] = torch.rand(outputs, generator=generator) * (high - low) + low
        state[f"{name}.bn.running_var"] = torch.rand(outputs, generator=generator) + 0.5
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(0)
    state["fc.weight"], state["fc.bias"] = torch.zeros(1008, 2048), torch.zeros(1008)
    return state


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return published()


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(state, path)
    return path


def unit(state: dict[str, Tensor], name: str, x: Tensor, stride: int = 1, padding=0) -> Tensor:
    """Convolution, `(x - mean) / sqrt(var + 0.001) * weight + bias`, ReLU."""
    x = F.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=padding)
    mean, var, weight, bias = (
        state[f"{name}.bn.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 0.001).sqrt() * weight + bias).clamp(min=0)


def average(x: Tensor) -> Tensor:
    """3 x 3 mean over the pixels that are there: sums over counts, by padding both with zeros."""
    kernel = torch.ones(x.shape[1], 1, 3, 3)
    total = F.conv2d(x, kernel, padding=1, groups=x.shape[1])
    return total / F.conv2d(torch.ones_like(x), kernel, padding=1, groups=x.shape[1])


def chain(state, block: str, x: Tensor, *steps: tuple) -> Tensor:
    for name, *options in steps:
        x = unit(state, f"{block}.{name}", x, *options)
    return x


ROW, COLUMN, SQUARE = (1, (0, 3)), (1, (3, 0)), (1, 1)


def reference(state: dict[str, Tensor], block: str, x: Tensor) -> Tensor:
    """The output of one block, branch by branch."""

    def go(*steps):
        return chain(state, block, x, *steps)

    if block.startswith("Mixed_5"):
        fives, pooled = go(("branch5x5_1",), ("branch5x5_2", 1, 2)), average(x)
        threes = go(("branch3x3dbl_1",), ("branch3x3dbl_2", 1, 1), ("branch3x3dbl_3", 1, 1))
        parts = [go(("branch1x1",)), fives, threes, unit(state, f"{block}.branch_pool", pooled)]
    elif block == "Mixed_6a":
        threes = go(("branch3x3dbl_1",), ("branch3x3dbl_2", 1, 1), ("branch3x3dbl_3", 2))
        parts = [go(("branch3x3", 2)), threes, F.max_pool2d(x, 3, 2)]
    elif block.startswith("Mixed_6"):
        sevens = go(("branch7x7_1",), ("branch7x7_2", *ROW), ("branch7x7_3", *COLUMN))
        names = [(f"branch7x7dbl_{i}", *(COLUMN if i % 2 == 0 else ROW)) for i in (2, 3, 4, 5)]
        pooled = unit(state, f"{block}.branch_pool", average(x))
        parts = [go(("branch1x1",)), sevens, go(("branch7x7dbl_1",), *names), pooled]
    elif block == "Mixed_7a":
        sevens = [("branch7x7x3_1",), ("branch7x7x3_2", *ROW), ("branch7x7x3_3", *COLUMN), ("branch7x7x3_4", 2)]
        parts = [go(("branch3x3_1",), ("branch3x3_2", 2)), go(*sevens), F.max_pool2d(x, 3, 2)]
    else:
        pooled = F.max_pool2d(x, 3, 1, padding=1) if block == "Mixed_7c" else average(x)
        row, column, double = (1, (0, 1)), (1, (1, 0)), [("branch3x3dbl_1",), ("branch3x3dbl_2", 1, 1)]
        parts = [
            go(("branch1x1",)),
            *(go(("branch3x3_1",), it) for it in (("branch3x3_2a", *row), ("branch3x3_2b", *column))),
        ]
        parts += [go(*double, ("branch3x3dbl_3a", *row)), go(*double, ("branch3x3dbl_3b", *column))]
        parts += [unit(state, f"{block}.branch_pool", pooled)]
    return torch.cat(parts, 1)


@pytest.mark.parametrize(("block", "side"), [(name, 9 if name < "Mixed_7b" else 5) for name in BLOCKS])
def test_each_block_is_what_its_branches_say(file, state, block, side):
    network = InceptionFeatures(str(file)).load()
    channels = next(iter(BLOCKS[block].values()))[0]
    x = torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1)).abs()
    with torch.no_grad():
        assert torch.allclose(getattr(network, block)(x), reference(state, block, x), rtol=1e-4, atol=1e-4)


def test_the_whole_network_is_the_blocks_in_order(file, state):
    images = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    x = 2 * F.interpolate(images, (299, 299), mode="bilinear", align_corners=False, antialias=False) - 1
    x = unit(state, "Conv2d_2a_3x3", unit(state, "Conv2d_1a_3x3", x, 2))
    x = F.max_pool2d(unit(state, "Conv2d_2b_3x3", x, 1, 1), 3, 2)
    x = F.max_pool2d(unit(state, "Conv2d_4a_3x3", unit(state, "Conv2d_3b_1x1", x)), 3, 2)
    for block in BLOCKS:
        x = reference(state, block, x)
    features = InceptionFeatures(str(file))(images)
    assert features.shape == (2, 2048) and features.dtype == torch.float32 and not features.requires_grad
    assert torch.allclose(features, x.flatten(2).mean(2), rtol=1e-3, atol=1e-3)
    assert float((features[0] - features[1]).abs().max()) > 0.01


def test_the_file_holds_566_tensors_of_which_counters_may_be_missing(state, tmp_path):
    assert len(state) == 566  # as the published file
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in InceptionV3().state_dict().items()}
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "old.pth")
    assert not InceptionFeatures(str(tmp_path / "old.pth")).load().training


def test_missing_weights_say_what_to_get_and_which_option_names_them():
    with pytest.raises(
        FileNotFoundError, match=r"`metrics.features.weights` must .* Fetch it from https://.*6726825d.pth"
    ):
        InceptionFeatures("nowhere.pth").load()
    with pytest.raises(
        ConfigError, match=r"pt_inception-2015-12-05-6726825d.pth, got null: .*/path/to/pt_inception-2015"
    ):
        Parts(config.load(["metrics=inception"])).fingerprints()
    loaded = config.load(["metrics=inception", "metrics.features.weights=nowhere.pth"])
    with pytest.raises(
        ConfigError, match="`metrics.features.weights` must be the file pt_inception-2015-12-05-6726825d.pth"
    ):
        Parts(loaded).fingerprints()


def test_the_checksum_is_compared_where_one_is_given(file):
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    assert InceptionFeatures(str(file), found).fingerprint() == found == InceptionFeatures(str(file)).fingerprint()
    with pytest.raises(ValueError, match=f"`metrics.features.sha256` must be the checksum of .*{found}, got 0000"):
        InceptionFeatures(str(file), "0" * 64).load()
    with pytest.raises(ValueError, match="`metrics.features.sha256` must be null or 64 hex"):
        InceptionFeatures(str(file), "6726825d")


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harmed",)


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful()))
    torch.save({"fc.weight": Harmful()}, tmp_path / "zipped.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("plain.pth", "zipped.pth", "text.pth"):
        with pytest.raises(ValueError, match="`metrics.features.weights` must hold tensors by name and nothing else"):
            InceptionFeatures(name).load()
    assert not (tmp_path / "harmed").exists()


def test_other_weights_are_refused_by_name_and_shape(state, tmp_path):
    cases = {
        "must have fc.weight of shape (1008, 2048), got (1000, 2048)": {"fc.weight": torch.zeros(1000, 2048)},
        "with a tensor AuxLogits.fc.weight": {"AuxLogits.fc.weight": torch.zeros(9)},
    }
    for message, more in cases.items():
        torch.save(state | more, tmp_path / "other.pth")
        with pytest.raises(ValueError) as error:
            InceptionFeatures(str(tmp_path / "other.pth")).load()
        assert message in str(error.value)
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="must hold tensors by name, got .* with a list"):
        InceptionFeatures(str(tmp_path / "list.pth")).load()


def test_the_option_makes_the_suite_and_its_weights_are_in_the_key(file):
    overrides = ["metrics=inception", f"metrics.features.weights={file}", "metrics.features.sha256=null"]
    suite = make(config.load(overrides), "metrics")
    assert isinstance(suite, MetricSuite) and suite.kid_gamma == 1 / 2048
    assert suite.fingerprint() == hashlib.sha256(file.read_bytes()).hexdigest()
    assert suite.described_features()["resize"] == "bilinear to 299 x 299 px, align_corners=False, no antialias"
    assert Parts(config.load(overrides)).fingerprints()["metrics"] == suite.fingerprint()
    encoder = make(config.load(["+encoder@metrics.features=emoji_clip"]), "metrics").features
    assert type(encoder).__name__ == "ClipEncoder"
