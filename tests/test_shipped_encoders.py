"""Every shipped encoder through the quickstart at small size; the output names it and says what it was told."""

from __future__ import annotations

import json

import pytest

from selfdebias.encoders.base import SHIPPED
from selfdebias.main import main
from selfdebias.testbed import HERE, shipped

SMALL = [
    "collect.n_images=32", "collect.batch_size=16", "collect.timesteps=6", "generate.n_images=6", "generate.batch_size=6",
    "model.steps=6", "projector.steps=20", "clustering=spectral", "report.images=2", "trainer.enable_progress_bar=false",
    "logger=none",
]  # fmt: skip
ENCODERS = sorted(path.parent.name for path in HERE.glob("*/preprocessor_config.json"))


def test_of_each_shipped_encoder_it_is_known_what_it_was_told():
    assert {f"shipped:{name}" for name in ENCODERS} == SHIPPED.keys()
    assert all("What it was told" in (shipped(name) / "README.md").read_text() for name in ENCODERS)


@pytest.mark.slow  # one of them is held in `tests/test_quickstart.py`
@pytest.mark.parametrize("name", ENCODERS)
def test_the_quickstart_runs_and_says_what_the_encoder_was_told(name, tmp_path, capsys):
    assert main([*SMALL, f"encoder={name}", f"paths.root={tmp_path}"]) == 0
    told = f"found with the encoder {name}, which was told {SHIPPED[f'shipped:{name}']}"
    assert told in " ".join(capsys.readouterr().out.split())
    (job,) = (tmp_path / "jobs").iterdir()
    assert told in " ".join((job / "table.md").read_text().replace("\\", "").split())
    assert json.loads((job / "results.json").read_text())["spaces"]["encoder"]["told"] == SHIPPED[f"shipped:{name}"]
    assert name in (job / "report.html").read_text()
