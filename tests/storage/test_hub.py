"""Models on the hub: a stand-in for it on this computer refuses, lists and serves; the client is the real one.

The client reads its address when it is imported, so each question is asked in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from selfdebias.testbed import shipped
from tests.hub import COMMIT, serve

ASK = """
import json, sys
from selfdebias.main import main
from selfdebias.jobs.libraries import settle_libraries
for arguments in json.loads(sys.argv[1]):
    code = main(arguments)
    print(f"exit {code}", file=sys.stderr)
"""
LOAD = """
import sys
from selfdebias.backbones import StableDiffusionBackbone
from selfdebias.encoders import ClipEncoder
from selfdebias.jobs.libraries import settle_libraries
settle_libraries()
backbone = StableDiffusionBackbone("good/emoji", steps=2, guidance_scale=3.0)
pipeline = backbone.load()
print(backbone.fingerprint())
print(tuple(backbone.generate(pipeline, ["an emoji of a person"], [0]).shape))
encoder = ClipEncoder("good/clip")
print(encoder.dim, encoder.fingerprint(), tuple(encoder.embed_text(["a man"]).shape))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """What is on the stand-in: a whole pipeline with all that lies beside one on the hub, and broken ones."""
    root = tmp_path_factory.mktemp("hub")
    good = shutil.copytree(shipped("emoji"), root / "good" / "emoji")
    (good / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another form")
    (good / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (good / "v1-5-pruned.safetensors").write_bytes(b"the same once more, in one file")
    (good / "safety_checker").mkdir()
    (good / "safety_checker" / "model.safetensors").write_bytes(b"not asked for")
    clip = shutil.copytree(shipped("emoji_clip"), root / "good" / "clip")
    (clip / "pytorch_model.bin").write_bytes(b"a pickle")
    shutil.copytree(shipped("emoji"), root / "gated" / "emoji")
    pickled = shutil.copytree(shipped("emoji"), root / "bad" / "pickled")
    (pickled / "unet" / "diffusion_pytorch_model.safetensors").rename(pickled / "unet" / "diffusion_pytorch_model.bin")
    other = shutil.copytree(shipped("emoji"), root / "bad" / "transformer")
    index = json.loads((other / "model_index.json").read_text())
    index["transformer"] = index.pop("unet")
    (other / "model_index.json").write_text(json.dumps(index))
    return root


def ask(code, cache, address, *arguments, **more):
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_OFFLINE"))},
        "HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **more,
    }  # fmt: skip
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cache, env=environment, timeout=240)


QUESTIONS = {
    "a missing id": (
        ["model.pretrained=nobody/nothing"],
        "got 'nobody/nothing': there is no such folder, and no such model on",
    ),
    "a gated id": (
        ["model.pretrained=gated/emoji"],
        "which is gated: accept its terms at https://huggingface.co/gated/emoji",
    ),
    "no unet": (["model.pretrained=bad/transformer"], "must be a pipeline with a `unet`, got 'bad/transformer'"),
    "pickles alone": (
        ["model.pretrained=bad/pickled"],
        "with a pickle alone for unet, which could run code: .*allow_pickle",
    ),
    "a wrong revision": (
        ["model.pretrained=good/emoji", "model.revision=v9"],
        "`model.revision` must be a branch, tag or commit of good/emoji, got 'v9'",
    ),
    "no pipeline": (
        ["model.pretrained=good/clip"],
        "must be a diffusers pipeline, with a model_index.json, got 'good/clip'",
    ),
    "a missing encoder": (
        ["encoder.pretrained=nobody/clip"],
        "`encoder.pretrained` must be .*got 'nobody/clip': there is no",
    ),
}


@pytest.mark.slow
def test_each_mistake_is_one_line_with_the_way_out(root, tmp_path):
    with serve(root) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        done = ask(ASK, tmp_path, address, json.dumps([arguments for arguments, _ in QUESTIONS.values()]))
    import re

    answers = done.stderr.split("exit 2\n")
    assert len(answers) == len(QUESTIONS) + 1 and answers[-1] == "", done.stderr
    for (name, (_, words)), answer in zip(QUESTIONS.items(), answers, strict=False):
        assert answer.count("\n") == 1 and re.search(words, answer), f"{name}: {answer}"
    assert not [file for file in server.served if not file.endswith(".json")]
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_pipeline_is_downloaded_without_what_is_not_needed_and_found_again_offline(root, tmp_path):
    with serve(root) as server:
        done = ask(LOAD, tmp_path, f"http://127.0.0.1:{server.server_port}")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"good/emoji@{COMMIT}", "(1, 3, 64, 64)", f"64 good/clip@{COMMIT} (1, 64)",
        ]  # fmt: skip
        weights = sorted(file for file in server.served if file.endswith((".safetensors", ".bin")))
    parts = ("text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model")
    assert weights == ["good/clip/model.safetensors", *(f"good/emoji/{part}.safetensors" for part in parts)]
    offline = ask(LOAD, tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline.stdout == done.stdout, offline.stderr


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_is_said_with_the_way_out(tmp_path):
    arguments = json.dumps([["model.pretrained=good/emoji"], ["model=sd15", "model.device=cpu", "model.dtype=float32"]])
    done = ask(ASK, tmp_path, "http://127.0.0.1:9", arguments)
    first, second, _ = done.stderr.split("exit 2\n")
    for answer in (first, second):
        assert answer.count("\n") == 1 and "the hub cannot be reached, and it is not in the hub's cache" in answer
        assert "hf download" in answer and answer.startswith("selfdebias: `model.pretrained` must be")
