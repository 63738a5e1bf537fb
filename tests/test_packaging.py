"""The package finds its configuration however it is installed, and needs nothing that it does not ask for."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest

from selfdebias.config import conf_folder

ROOT = Path(__file__).parents[1]
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


def test_the_core_imports_without_torchvision():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCHVISION], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_torchvision_is_in_no_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    everything = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    assert not [name for name in everything if name.startswith(("torchvision", "lightning"))]
    assert set(project["optional-dependencies"]) == {"slurm", "umap", "demo", "dev"}


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
    code = "from selfdebias.config import conf_folder; print(conf_folder())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert Path(found.stdout.strip()) == tmp_path / "site" / "selfdebias" / "conf"
