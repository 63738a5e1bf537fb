"""A folder that lacks a part, or that would have to be unpickled, is refused before anything heavy is imported."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from selfdebias.folders import model_folder, pipeline_folder
from selfdebias.main import main
from selfdebias.testbed import shipped

pytestmark = pytest.mark.manners


@pytest.fixture
def pipeline(tmp_path):
    return shutil.copytree(shipped("emoji"), tmp_path / "pipeline")


def test_the_shipped_models_are_whole(pipeline):
    assert pipeline_folder("shipped:emoji") == shipped("emoji")
    assert pipeline_folder(str(pipeline)) == pipeline
    assert model_folder("encoder.pretrained", "shipped:emoji_clip") == shipped("emoji_clip")


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(pipeline, part):
    shutil.rmtree(pipeline / part)
    with pytest.raises(FileNotFoundError, match=f"with all its parts, got .* without {part}/"):
        pipeline_folder(str(pipeline))


def test_missing_weights_are_named(pipeline):
    (pipeline / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="must hold weights in unet/"):
        pipeline_folder(str(pipeline))


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.ckpt", "model.pt"])
def test_pickled_weights_are_refused_with_the_way_out(pipeline, name):
    (pipeline / "unet" / "diffusion_pytorch_model.safetensors").rename(pipeline / "unet" / name)
    with pytest.raises(
        ValueError, match="got .* with a pickle for unet, which could run code: .*safe_serialization=True"
    ):
        pipeline_folder(str(pipeline))


def test_a_pickled_encoder_is_refused(tmp_path):
    shutil.copytree(shipped("emoji_clip"), tmp_path / "clip")
    (tmp_path / "clip" / "model.safetensors").rename(tmp_path / "clip" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="`encoder.pretrained` must hold safetensors weights"):
        model_folder("encoder.pretrained", str(tmp_path / "clip"))


def test_the_command_line_says_it_in_one_line_and_leaves_nothing(pipeline, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(pipeline / "vae")
    assert main([f"model.pretrained={pipeline}"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("selfdebias: `model.pretrained` must") and err.count("\n") == 1 and out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline"]


@pytest.mark.parametrize(
    "argument", ["model.pretrained=/nowhere", "paths.root=/dev/null/runs", "guidance.target=[1,1]"]
)
def test_it_is_said_without_importing_torch(argument, tmp_path):
    code = (
        "import sys; from selfdebias.main import main; code = main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    command = [sys.executable, "-c", code, argument]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr


@pytest.mark.parametrize(
    "argument", ["guidance.temperature=0", "guidance.branch=sideways", "vocabulary.level=2", "trainer.devices=9999"]
)
def test_a_wrong_value_is_said_before_the_slow_libraries_are_imported(argument, tmp_path):
    code = (
        "import sys; from selfdebias.main import main; code = main(sys.argv[1:]);"
        "slow = {'pytorch_lightning', 'diffusers', 'transformers', 'sklearn', 'scipy', 'wandb'} & set(sys.modules);"
        "assert not slow, slow; sys.exit(code)"
    )
    command = [sys.executable, "-c", code, argument]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []
