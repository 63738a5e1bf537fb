"""A file is there whole or not at all, whatever fails on the way."""

from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors import safe_open

from selfdebias.storage import atomic

pytestmark = pytest.mark.reliability


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    atomic.write_text(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_file_appears_only_after_it_is_synced(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    seen = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(("fsync", path.exists())), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append(("replace", path.exists())), replace(a, b))[1])
    atomic.write_bytes(path, b"x" * 10)
    assert seen[:2] == [("fsync", False), ("replace", False)]
    assert path.read_bytes() == b"x" * 10


def test_json_is_sorted_and_refuses_what_is_not_finite(tmp_path):
    atomic.write_json(tmp_path / "a.json", {"b": 1, "a": None})
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["a", "b"]
    with pytest.raises(ValueError):
        atomic.write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_tensors_keep_dtype_values_and_metadata(tmp_path):
    h = torch.arange(6, dtype=torch.float16).reshape(2, 3).T  # not contiguous
    atomic.write_tensors(tmp_path / "a.safetensors", {"h": h, "n": torch.tensor([7])}, {"key": "abc"})
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("h"), h)
        assert file.get_tensor("h").dtype == torch.float16
        assert file.metadata() == {"key": "abc"}


@pytest.mark.parametrize("torn", [b'{"step": 2, "va', b"x" * 9000])
def test_a_torn_line_is_ignored_and_then_cut_off(tmp_path, torn):
    path = tmp_path / "m.jsonl"
    atomic.append_line(path, {"step": 1})
    path.write_bytes(path.read_bytes() + torn)
    assert atomic.read_lines(path) == [{"step": 1}]
    atomic.append_line(path, {"step": 2})
    assert atomic.read_lines(path) == [{"step": 1}, {"step": 2}]


def test_a_file_of_one_torn_line_holds_nothing(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b'{"ste')
    assert atomic.read_lines(tmp_path / "m.jsonl") == []
    atomic.append_line(tmp_path / "m.jsonl", {"step": 1})
    assert atomic.read_lines(tmp_path / "m.jsonl") == [{"step": 1}]


def test_temporaries_are_removed_in_subfolders_too_and_nothing_else(tmp_path):
    (tmp_path / "images").mkdir()
    for name in (f"{atomic.TEMPORARY}a1", f"images/{atomic.TEMPORARY}b2", "images/000001.png"):
        (tmp_path / name).write_text("x")
    atomic.remove_temporaries(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["000001.png"]
