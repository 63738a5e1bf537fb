"""What the package gives today, held against what it gave: a job of three arms, an evaluation of folders, and a fit with attach.

`python -m tests.golden reference` writes `tests/golden.npz` and `tests/golden.json` anew, after a change that is meant to
change results.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import golden


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return golden.few(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def reference():
    return json.loads(golden.REFERENCE.with_suffix(".json").read_text())


@pytest.mark.parametrize("name", ["vanilla", "guided", "random", "fit"])
def test_images_are_those_of_before(found, name):
    """Of 255 levels, 2.5% of the values may differ by one: another processor rounds some of them another way."""
    before = np.load(golden.REFERENCE.with_suffix(".npz"))[name]
    assert np.abs(found["images"][name] / 255 - before / 255).mean() < 1e-4


@pytest.mark.parametrize("job", ["arms", "folders"])
def test_results_are_those_of_before(found, reference, job):
    before, after = reference["numbers"][job], found["numbers"][job]
    assert before.keys() == after.keys()
    # Among processors: differences of two numbers were 2e-5 apart, p of a difference 2e-4, the interval of a PSNR 4e-3 dB.
    decibels = {key for key in before if "/psnr" in key}
    for keys, near in ((before.keys() - decibels, 1e-4), (decibels, 1e-2)):
        expected = pytest.approx({key: before[key] for key in keys}, rel=1e-3, abs=near, nan_ok=True)
        assert {key: after[key] for key in keys} == expected


def test_stages_have_the_keys_of_before_so_that_a_folder_is_found_again(found, reference):
    assert found["stages"] == reference["stages"]


def test_the_same_files_are_in_the_folder_of_a_job(found, reference):
    assert found["files"] == reference["files"]
