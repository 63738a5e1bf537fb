"""A folder that lacks a part, or that would have to be unpickled, is refused before anything heavy is imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from selfdebias.main import main
from selfdebias.storage.weight_sources import ModelSource, PipelineSource
from selfdebias.testbed import shipped

pytestmark = pytest.mark.manners


@pytest.fixture
def pipeline(tmp_path):
    return shutil.copytree(shipped("emoji"), tmp_path / "pipeline")


def source(folder, **options) -> PipelineSource:
    return PipelineSource("model", str(folder), **options)


def test_the_shipped_models_are_whole(pipeline):
    assert PipelineSource("model", "shipped:emoji").folder() == shipped("emoji")
    assert source(pipeline).folder() == pipeline
    assert ModelSource("encoder", "shipped:emoji_clip").folder() == shipped("emoji_clip")


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(pipeline, part):
    shutil.rmtree(pipeline / part)
    with pytest.raises(FileNotFoundError, match=f"with all its parts, got .* without {part}/"):
        source(pipeline).check()


def test_missing_weights_are_named(pipeline):
    (pipeline / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="must hold weights in unet/"):
        source(pipeline).check()


def test_a_pipeline_without_a_unet_is_named(pipeline):
    index = json.loads((pipeline / "model_index.json").read_text())
    index["transformer"] = index.pop("unet")
    (pipeline / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(
        ValueError, match="must be a pipeline with a `unet`, got .*, a StableDiffusionPipeline of .*transf"
    ):
        source(pipeline).check()


def test_a_unet_and_its_scheduler_may_lie_at_the_top(pipeline):
    """As in the folders of the oldest unconditional models."""
    for file in (pipeline / "unet").iterdir():
        file.rename(pipeline / file.name)
    shutil.move(pipeline / "scheduler" / "scheduler_config.json", pipeline)
    for part in ("unet", "scheduler"):
        shutil.rmtree(pipeline / part)
    source(pipeline).check()
    (pipeline / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="must hold weights in unet/"):
        source(pipeline).check()


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.ckpt", "model.pt"])
def test_pickled_weights_are_refused_with_the_way_out(pipeline, name):
    (pipeline / "unet" / "diffusion_pytorch_model.safetensors").rename(pipeline / "unet" / name)
    with pytest.raises(
        ValueError,
        match="got .* with a pickle alone for unet, which could run code: .*safe_serialization=True.*model.allow_pickle=true",
    ):
        source(pipeline).check()
    with pytest.warns(UserWarning, match="`model.allow_pickle` is true"):
        assert source(pipeline, allow_pickle=True).folder() == pipeline


def test_a_pickled_encoder_is_refused(tmp_path):
    shutil.copytree(shipped("emoji_clip"), tmp_path / "clip")
    (tmp_path / "clip" / "model.safetensors").rename(tmp_path / "clip" / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match="`encoder.pretrained` must hold safetensors weights.*encoder.allow_pickle=true"
    ):
        ModelSource("encoder", str(tmp_path / "clip")).check()


def test_a_model_of_another_type_is_named():
    with pytest.raises(ValueError, match="must be a model of type dinov2, got 'shipped:emoji_clip' of type clip"):
        ModelSource("encoder", "shipped:emoji_clip", types=("dinov2",)).check()


def test_a_pipeline_of_another_kind_is_named(pipeline):
    with pytest.raises(ValueError, match="must be saved as one of DDIMPipeline, got .*, a StableDiffusionPipeline"):
        source(pipeline, classes=("DDIMPipeline",)).check()


def test_another_form_of_the_weights_must_be_there(pipeline):
    with pytest.raises(ValueError, match=r"`model.variant` must be a form that .* offers \(none\) or null, got 'fp16'"):
        source(pipeline, variant="fp16").check()
    for part in ("unet", "vae"):
        weights = pipeline / part / "diffusion_pytorch_model.safetensors"
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    source(pipeline, variant="fp16").check()


def test_a_single_file_must_be_one_of_weights(tmp_path):
    for name, message in (("a.onnx", r"a file \*.safetensors or \*.ckpt"), ("a.ckpt", "model.allow_pickle=true")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=message):
            source(tmp_path / name).check()
    with pytest.raises(FileNotFoundError, match="must be a folder that exists"):
        source("not/there.safetensors").check()


def test_the_fingerprint_follows_the_bytes_of_what_is_loaded(pipeline):
    before = source(pipeline).fingerprint()
    (pipeline / "README.md").write_text("another card")
    assert source(pipeline).fingerprint() == before
    weights = pipeline / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert source(pipeline).fingerprint() != before


def test_the_command_line_says_it_in_one_line_and_leaves_nothing(pipeline, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(pipeline / "vae")
    assert main([f"model.pretrained={pipeline}"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("selfdebias: `model.pretrained` must") and err.count("\n") == 1 and out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline"]


ALONE = """
import json, sys
from selfdebias.main import main
codes = [main([argument]) for argument in sys.argv[2:]]
assert not set(json.loads(sys.argv[1])) & set(sys.modules), sorted(sys.modules)
print(codes)
"""
SLOW = ["pytorch_lightning", "diffusers", "transformers", "sklearn", "scipy", "wandb"]


@pytest.mark.parametrize(
    ("libraries", "arguments"),
    [
        (["torch"], ["model.steps=0", "paths.root=/dev/null/runs", "guidance.target=[1,1]"]),
        (SLOW, ["guidance.temperature=0", "guidance.branch=sideways", "vocabulary.level=2", "trainer.devices=9999"]),
    ],
)
def test_a_wrong_value_is_said_before_the_slow_libraries_are_imported(libraries, arguments, tmp_path):
    command = [sys.executable, "-c", ALONE, json.dumps(libraries), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert json.loads(done.stdout or "0") == [2] * len(arguments), done.stderr
    assert done.stderr.count("\n") == len(arguments) and list(tmp_path.iterdir()) == []
