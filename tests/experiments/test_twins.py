"""A twin is run as a sweep, and what is kept of it is what the sweep left."""

from __future__ import annotations

import json

import pytest

from experiments.twins import FOLDERS, chosen, run_twin
from tests.test_experiments import TINY


@pytest.mark.slow
def test_what_is_kept_is_what_the_sweep_left(tmp_path):
    folder, name = "paper", "pets"
    run_twin(folder, name, [*TINY, f"paths.root={tmp_path / 'runs'}"], tmp_path)
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    page, table = (tmp_path / folder / f"{name}.md").read_text(), (sweep / "table.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert rows and rows == [line for line in page.splitlines() if line.startswith("|")]
    assert page.startswith(f"# {folder}/{name}\n") and f"python -m experiments.twins {name}`" in page
    assert str(tmp_path) not in page  # no folder of this computer
    numbers = json.loads((tmp_path / folder / f"{name}.json").read_text())
    hashes = [it for group in numbers["rows"] for it in group["config_hashes"]]
    assert len(hashes) == 2 * len(numbers["rows"]) and all(it in page for it in hashes)  # two seeds, pooled
    assert (tmp_path / folder / f"{name}.png").read_bytes() == (sweep / "pareto.png").read_bytes()
    assert f"({name}.png)" in page


def test_names_and_folders_choose_twins():
    assert chosen(["pets", "ablation"]) == [("paper", "pets"), *(("ablation", name) for name in FOLDERS["ablation"])]
    assert len(chosen([])) == len(FOLDERS["ablation"]) + len(FOLDERS["paper"])
    with pytest.raises(SystemExit, match="`nope` must be one of ablation, paper, batch_size"):
        chosen(["nope"])
