"""A file that the user has to fetch: what is said of one that is missing or another, without anything heavy."""

from __future__ import annotations

import hashlib

import pytest

from selfdebias.main import main
from selfdebias.storage.weight_files import fairface

PUBLISHED = "res34_fair_align_multi_7_20190809.pt"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / PUBLISHED
    path.write_bytes(b"weights")
    return path


def test_the_fingerprint_is_the_checksum(file):
    checksum = hashlib.sha256(b"weights").hexdigest()
    assert fairface(str(file), None).fingerprint() == checksum == fairface(str(file), checksum.upper()).fingerprint()


def test_another_checksum_is_refused_and_both_are_named(file):
    with pytest.raises(
        ValueError, match=f"`judge.sha256` must be .*{hashlib.sha256(b'weights').hexdigest()}, got {'0' * 64}"
    ):
        fairface(str(file), "0" * 64).check()


@pytest.mark.parametrize("path", [None, "no/such.pt"])
def test_a_missing_file_is_said_with_the_way_out(path):
    page, way_out = "github.com/dchen236/FairFace", f"set judge.weights=/path/to/{PUBLISHED}"
    words = f"`judge.weights` must be the file {PUBLISHED}, got .*{page}.*{way_out}"
    with pytest.raises(FileNotFoundError, match=words):
        fairface(path, None).check()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("model.zip", None), "`judge.weights` must be a file"),
        ((PUBLISHED, "abc"), "`judge.sha256` must be null or 64 hexadecimal digits, got 'abc'"),
    ],
)
def test_what_no_file_could_make_right_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        fairface(*arguments).check()


@pytest.mark.manners
def test_the_job_without_weights_is_answered_in_one_line_and_leaves_no_folder(tmp_path, capsys):
    assert main(["judge=fairface", f"paths.root={tmp_path / 'runs'}"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("selfdebias: `judge.weights` must be the file") and err.count("\n") == 1
    assert out == "" and not (tmp_path / "runs").exists()


@pytest.mark.manners
def test_a_wrong_checksum_and_a_file_of_code_are_answered_before_anything_is_drawn(tmp_path, file, capsys):
    start = [
        "judge=fairface",
        "prompts.attributes=[gender]",
        f"judge.weights={file}",
        f"paths.root={tmp_path / 'runs'}",
    ]
    for more, words in ((["judge.sha256=" + "a" * 64], "`judge.sha256` must be the checksum"), ([], "and was not run")):
        assert main([*start, *more]) == 2
        err = capsys.readouterr().err
        assert words in err and err.startswith("selfdebias: `judge.") and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
