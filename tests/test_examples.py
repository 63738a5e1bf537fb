"""The examples run: with few images and steps in place of theirs, and in the slow suite as they are written."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
FEWER = {
    "N_IMAGES = 128": "N_IMAGES = 48",
    '"num_inference_steps": 25': '"num_inference_steps": 4',
    '"logger=none"]': '"logger=none", "debug=tiny"]',
}
# All slow: the fast suite runs the README's ten lines, and `selfdebias.run` in tests/jobs/test_from_python.py.


@pytest.mark.slow
@pytest.mark.parametrize("name", [it.name for it in sorted(EXAMPLES.glob("*.py"))])
def test_it_runs_and_leaves_what_it_says(name, tmp_path, monkeypatch, capsys):
    code = (EXAMPLES / name).read_text()
    for value, smaller in FEWER.items():
        code = code.replace(value, smaller)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(code)
    runpy.run_path(str(tmp_path / name), run_name="__main__")
    picture = tmp_path / f"{Path(name).stem}.png"
    assert picture.exists() == ("make_image_grid" in code)
    if "selfdebias.run" in code:
        said = capsys.readouterr().out
        assert "men (95% interval" in said or "fd_hard" in said
        assert list(tmp_path.glob("runs/jobs/*/results.json"))


def test_each_example_says_what_it_shows():
    for file in EXAMPLES.glob("*.py"):
        assert file.read_text().startswith('"""'), file.name
