"""What a job says of its making is that of this package, holds no name of a host or user, and is in no key."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import torch

from selfdebias.jobs.job_record import record_of
from selfdebias.storage import provenance
from selfdebias.storage.provenance import commit_of, differences, made_with

NOBODY = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *NOBODY, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository of one commit: `package/__init__.py` and `conf/a.yaml`."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    for name in ("package/__init__.py", "conf/a.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_the_commit_is_that_of_the_packages_checkout_wherever_one_stands(checkout, monkeypatch):
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.chdir("/")
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")  # as a hook of another repository sets it
    assert commit_of(checkout / "package") == {"commit": commit, "changed": False}


@pytest.mark.parametrize("name", ["package/__init__.py", "package/new.py", "conf/a.yaml", "conf/new.yaml"])
def test_changes_of_package_and_configuration_are_said(checkout, name):
    (checkout / "results.md").write_text("new, and not of the package")
    folders = checkout / "package", checkout / "conf"
    assert commit_of(*folders)["changed"] is False
    (checkout / name).write_text("changed")
    assert commit_of(*folders)["changed"] is True


def test_a_package_installed_below_a_checkout_is_no_part_of_it(checkout):
    installed = checkout / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert commit_of(installed) is None


@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_without_git_there_is_no_commit_and_no_error(checkout, monkeypatch, path):
    monkeypatch.setenv("PATH", path)
    assert commit_of(checkout / "package") is None


def test_outside_a_checkout_there_is_no_commit(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    assert commit_of(tmp_path) is None


def test_versions_are_those_that_run_and_no_host_or_user_is_named():
    found = made_with()
    assert found["python"] == platform.python_version()
    assert found["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert {"diffusers", "transformers", "numpy", "hydra-core", "pytorch-lightning", "scikit-learn"} <= {
        *found["libraries"]
    }
    for name in (socket.gethostname(), str(Path.home()), getpass.getuser()):
        assert name not in json.dumps(found)


def test_a_changed_tree_is_a_difference_and_equal_ones_are_none():
    now = made_with()
    assert differences(now, now) == []
    clean, changed = ({"git": {"commit": "ab" * 20, "changed": it}, "libraries": {}} for it in (False, True))
    assert differences(clean, changed) == ["commit abababab, now abababab with changes"]


def test_a_job_that_was_done_goes_on_saying_what_it_was_made_with(tmp_path, monkeypatch):
    config = {"evaluate": {"seed": 0, "folders": None}, "clustering": {}, "tags": []}
    (tmp_path / "job.json").write_text(json.dumps({"made_with": {"selfdebias": "0.0.1"}}))
    assert record_of(tmp_path, config, [], {}, is_done=True)["made_with"] == {"selfdebias": "0.0.1"}
    assert record_of(tmp_path, config, [], {}, is_done=False)["made_with"] == provenance.made_with()
