"""What CONTRIBUTING.md shows works as it stands: a guidance and an encoder, each in one class and one YAML."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import selfdebias.encoders
import selfdebias.guidance
from selfdebias.config import compose as config
from selfdebias.config import sources
from selfdebias.config.targets import check_job, make
from selfdebias.guidance import GuidanceState
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.jobs.run import make_plan
from selfdebias.jobs.stages.generate import ArmSampler
from selfdebias.main import main
from selfdebias.storage.batches import BatchFolder
from tests import small_jobs
from tests.encoders import test_entries as entries
from tests.guidance import test_contract as contract
from tests.tiny import sample, tiny_pipeline

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
MOST = 68  # lines of both files together


def _shown(group: str = "guidance") -> dict[str, str]:
    """Contents of the files that are shown for a part, by the path in their first line."""
    return dict(re.findall(rf"```\w+\n# (\S+/{group}s?/\S+\.(?:py|yaml))\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def plugged_in(tmp_path, monkeypatch):
    """Both files where CONTRIBUTING.md puts them, in copies of the two folders."""
    conf = shutil.copytree(sources.conf_folder(), tmp_path / "conf")
    for room in (selfdebias.guidance, selfdebias.encoders):
        folder = tmp_path.joinpath(*room.__name__.split("."))
        folder.mkdir(parents=True)
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
    for path, text in (_shown() | _shown("encoder")).items():
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(sources, "conf_folder", lambda: conf)
    yield config.load(["guidance=shrink"])
    for name in ("selfdebias.guidance.shrink", "selfdebias.encoders.thumbnail"):
        sys.modules.pop(name, None)


def test_it_shows_one_class_and_one_yaml_in_few_lines():
    assert sorted(_shown()) == ["conf/guidance/shrink.yaml", "selfdebias/guidance/shrink.py"]
    assert sum(len(text.splitlines()) for text in _shown().values()) <= MOST


@pytest.mark.slow
def test_what_it_shows_passes_the_type_checker(tmp_path):
    shown = dict(re.findall(r"```python\n# selfdebias/\w+/(\w+\.py)\n(.*?)```", TEXT, re.DOTALL))
    assert {"shrink.py", "thumbnail.py", "authenticity.py"} <= {*shown}
    files = [tmp_path / name for name in ("shrink.py", "thumbnail.py", "authenticity.py")]
    for file in files:
        file.write_text(shown[file.name])
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", *map(str, files)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_name_that_the_trace_has_is_refused_before_anything_of_the_batch_is_kept(plugged_in, tmp_path, monkeypatch):
    guidance, pipeline, store = make(plugged_in, "guidance"), tiny_pipeline(), BatchFolder(tmp_path / "arm", "k")
    shown = importlib.import_module("selfdebias.guidance.shrink")
    monkeypatch.setattr(shown.Shrunk, "tensors", lambda self, group: {"kl": torch.zeros(1)})
    sampler = ArmSampler(guidance, GuidanceWindow(), GuidanceState(), None, store, None, ["a person"], 1, "generate", 0)
    sampler.draw = lambda ids: sample(pipeline, list(ids))
    sampler.pipeline = pipeline
    with pytest.raises(
        config.ConfigError, match="other than the trace's edit_index, .*; got kl of ShrinkGuidance: give"
    ):
        sampler.draw_batch(0, [0])
    assert store.ids() == []


def test_the_new_guidance_composes_and_has_an_arm(plugged_in):
    check_job(plugged_in)
    steps = make_plan(plugged_in, {})
    assert type(steps["generate/guided"].arguments["guidance"]).__name__ == "ShrinkGuidance"


def test_the_new_guidance_guides(plugged_in):
    guidance, pipeline = make(plugged_in, "guidance"), tiny_pipeline()
    before = sample(pipeline, [1, 2])
    with Attachment(pipeline, guidance, GuidanceWindow(), GuidanceState()):
        after = sample(pipeline, [1, 2])
    assert not torch.equal(before, after)
    guidance.strength = 0.0
    with Attachment(pipeline, guidance, GuidanceWindow(), GuidanceState()):
        assert torch.equal(before, sample(pipeline, [1, 2]))


def test_the_new_guidance_remembers_and_a_resumed_run_goes_on_from_it(plugged_in):
    guidance, pipeline, state = make(plugged_in, "guidance"), tiny_pipeline(), GuidanceState()
    with Attachment(pipeline, guidance, GuidanceWindow(), state):
        sample(pipeline, [1, 2])
        kept = {name: it.clone() for name, it in state.kept_tensors().items()}
        after = sample(pipeline, [3])
    assert kept == {"shrunk": torch.tensor(1)}
    resumed = GuidanceState()
    resumed.restore(state.group, kept)
    with Attachment(pipeline, guidance, GuidanceWindow(), resumed):
        assert torch.equal(after, sample(pipeline, [3]))
    with Attachment(pipeline, guidance, GuidanceWindow(), GuidanceState()):
        assert not torch.equal(after, sample(pipeline, [3]))


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_new_guidance_keeps_the_contract(plugged_in, scale, dtype, monkeypatch):
    monkeypatch.setattr(contract, "conf_folder", sources.conf_folder)
    contract.test_shape_dtype_input_and_gradients("shrink", scale, dtype)
    contract.test_it_is_made_again_from_what_it_holds("shrink")


def test_its_values_are_checked_where_the_command_line_gives_them(plugged_in):
    with pytest.raises(config.ConfigError, match="`strength` must be between 0 and 1, got 2"):
        make(config.load(["guidance=shrink", "guidance.strength=2"]), "guidance")


def test_the_new_encoder_gives_unit_vectors_that_follow_the_image(plugged_in):
    assert sorted(_shown("encoder")) == ["conf/encoder/thumbnail.yaml", "selfdebias/encoders/thumbnail.py"]
    chosen = config.load(["encoder=thumbnail"])
    assert chosen["vocabulary"] == config.load(["vocabulary=none"])["vocabulary"]
    encoder, images = make(chosen, "encoder"), torch.rand(3, 3, 32, 32, requires_grad=True)
    embedded = encoder(images)
    assert embedded.shape == (3, encoder.dim) and torch.allclose(embedded.norm(dim=1), torch.ones(3))
    (slope,) = torch.autograd.grad(embedded[:, 0].sum(), images)
    assert slope.abs().sum() > 0
    entries.test_unit_vectors_frozen_and_differentiable_and_of_the_stated_width("thumbnail", lambda _: (encoder, None))
    entries.test_the_fingerprint_is_stable("thumbnail", lambda _: (encoder, None))
    with pytest.raises(config.ConfigError, match="`encoder.size` must be at least 1, got 0"):
        make(config.load(["encoder=thumbnail", "encoder.size=0"]), "encoder")


def _commands() -> list[str]:
    """The command lines of `selfdebias` that the page shows."""
    return re.findall(r"`(selfdebias [^`]+)`", TEXT)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package of one's own, registered as the page says, with the class that it shows under the page's other name."""
    site = tmp_path / "site"
    (section,) = re.findall(r"```toml\n\[project\.entry-points\.\"(.*?)\"\]\n(.*?)```", TEXT, re.DOTALL)
    (site / "my_package-0.1.dist-info").mkdir(parents=True)
    (site / "my_package-0.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: my_package\nVersion: 0.1\n"
    )
    entries = f"[{section[0]}]\n{section[1]}".replace('"', "")
    (site / "my_package-0.1.dist-info" / "entry_points.txt").write_text(entries)
    (site / "my_package").mkdir()
    shown = _shown()["selfdebias/guidance/shrink.py"].replace("ShrinkGuidance", "MyGuidance")
    (site / "my_package" / "__init__.py").write_text(shown)
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("my_package", None)


def test_each_command_of_the_page_runs_as_it_stands(plugged_in, installed, tmp_path, capsys):
    assert [shlex.split(text)[1:3] for text in _commands()] == [
        ["debug=tiny", "guidance=shrink"],
        ["encoder=thumbnail"],
        ["guidance._target_=my_package.MyGuidance"],
    ]
    tiny_pipeline().save_pretrained(tmp_path / "model")
    sizes = [
        text for text in small_jobs.command(tmp_path / "model", tmp_path / "runs") if not text.startswith("guidance.")
    ]
    few = ["generate.n_images=8", "generate.batch_size=4", "evaluate.bootstrap=20", "evaluate.reference_images=8"]
    for text in _commands():
        words = [word for word in shlex.split(text)[1:] if not word.startswith("paths.root=")]
        assert main([*words, *sizes, *few]) == 0, capsys.readouterr().err
    jobs = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("jobs/*/results.json")]
    assert len(jobs) == 3
    told = {"name": "thumbnail-8", "told": "nothing: it is not trained"}
    (embedded,) = [results for results in jobs if told["name"] in json.dumps(results)]
    assert told["told"] in json.dumps(embedded)
    jobs.remove(embedded)
    for results in jobs:  # the same class, under both names, with its own default
        assert results["arms"]["guided"]["kept_cosine"]["value"] < 1
    assert jobs[0]["arms"]["guided"]["mode_fd"] == jobs[1]["arms"]["guided"]["mode_fd"]


def test_the_files_that_the_page_names_are_there():
    for name in re.findall(r"(?:\.venv/bin/python|`)(?: )?((?:selfdebias|notebooks|tests)/[\w/]+\.py)", TEXT):
        assert (Path(__file__).parents[1] / name).exists() or name in _shown(), name
