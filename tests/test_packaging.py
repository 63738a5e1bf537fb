"""The package finds its configuration however it is installed, and needs nothing that it does not ask for."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from selfdebias.config.sources import conf_folder
from tests import lowest, pins

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
UNTESTED = ("umap-learn",)  # of extras that the environment of the tests does not install
SHEETS = [sheet.relative_to(ROOT) for sheet in (ROOT / "selfdebias" / "testbed").glob("*/samples.png")]
LARGEST_WHEEL = 42e6  # bytes; the weights of the test bed, three encoders among them, are nearly all of it
WITHOUT_TORCHVISION = """
import importlib, pkgutil, sys
sys.modules["torchvision"] = None  # importing it fails, looking for it finds nothing
import selfdebias
for module in pkgutil.walk_packages(selfdebias.__path__, "selfdebias."):
    importlib.import_module(module.name)
from diffusers import StableDiffusionPipeline
from transformers import CLIPImageProcessor, CLIPModel
assert sys.modules["torchvision"] is None
"""


def test_an_editable_install_uses_the_top_level_conf():
    assert conf_folder() == ROOT / "conf"


@pytest.mark.slow
def test_the_core_imports_without_torchvision():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCHVISION], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_torchvision_is_in_no_dependency():
    everything = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    assert not [name for name in everything if name.startswith(("torchvision", "lightning"))]
    assert set(PROJECT["optional-dependencies"]) == {
        "slurm",
        "joblib",
        "search",
        "tensorboard",
        "umap",
        "dev",
        "docs",
        "efficientnet",
    }


@pytest.mark.parametrize("text", lowest.requirements(PROJECT))
def test_each_requirement_has_both_bounds_and_its_tested_version_lies_between(text):
    wanted = Requirement(text)
    assert sorted(bound.operator for bound in wanted.specifier) == ["<", ">="]
    versions = [pin.partition("==")[2] for pin in PINS if canonicalize_name(pin.partition("==")[0]) == wanted.name]
    assert len(versions) == (wanted.name not in UNTESTED)
    assert all(wanted.specifier.contains(version) for version in versions)
    assert wanted.specifier.contains(lowest.pin(text).partition("==")[2])


def test_the_constraints_hold_on_every_platform_and_name_each_package_once():
    assert pins.pins(PINS) == PINS
    names = [canonicalize_name(pin.partition("==")[0]) for pin in PINS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "text", ["numpy", "numpy<3", "numpy==2.1", "numpy>=2.1,!=2.2", "numpy>2,<3", "numpy @ file:///x"]
)
def test_a_requirement_without_a_lowest_version_is_refused(text):
    with pytest.raises(ValueError, match="`requirement` must be NAME>=LOWEST"):
        lowest.pin(text)


def test_a_frozen_line_without_a_version_is_refused():
    with pytest.raises(ValueError, match="`frozen` must be lines of NAME==VERSION, got 'numpy @ file:///x'"):
        pins.pins(["numpy @ file:///x"])


@pytest.mark.slow
def test_wheel_and_source_come_without_the_sample_sheets(tmp_path):
    """Sheets are in the repository, where the cards name them; tests alone read them."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", "-o", tmp_path, ROOT]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    (wheel,), (source,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.namelist()
    with tarfile.open(source) as archive:
        unpacked = [name.partition("/")[2] for name in archive.getnames()]
    assert len(SHEETS) == 3
    for names in (packed, unpacked):
        assert "selfdebias/testbed/emoji/model_index.json" in names
        assert "hydra_plugins/selfdebias_search/sweeper.py" in names
        assert not [sheet for sheet in SHEETS if sheet.as_posix() in names]
    assert wheel.stat().st_size < LARGEST_WHEEL


@pytest.mark.slow
def test_a_wheel_carries_conf_and_finds_it(tmp_path):
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run(command, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    wanted = {f"selfdebias/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert wanted <= names
    assert not [name for name in names if name.startswith(("conf/", "tests/", "experiments/"))]
    code = "from selfdebias.config.sources import conf_folder; print(conf_folder())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert Path(found.stdout.strip()) == tmp_path / "site" / "selfdebias" / "conf"
