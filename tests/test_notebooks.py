"""The notebooks are thin, hold no outputs, run from top to bottom offline, and show what they promise."""

from __future__ import annotations

import ast
import base64
import io
import os
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nbformat
import numpy as np
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_output
from PIL import Image

from notebooks.strip import stripped

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST = 12  # code cells of a notebook, and lines of one of them
LOGIC = (ast.ClassDef, ast.If, ast.While, ast.Try, ast.Match, ast.Lambda)
OFFLINE = """
import socket
from tests.offline import refusing

socket.socket.connect = refusing(socket.socket.connect)
try:
    socket.create_connection(("192.0.2.1", 80), timeout=1)
except OSError as error:
    print(error)
"""

Outputs = dict[str, list[Any]]


def test_stripping_leaves_no_trace_of_a_run_or_an_editor():
    kept = nbformat.read(NOTEBOOKS[0], as_version=4)
    run = deepcopy(kept)
    run.metadata["language_info"]["version"] = "3.11.7"
    code = next(cell for cell in run.cells if cell.cell_type == "code")
    code.outputs, code.execution_count, code.metadata = [new_output("stream", text="a")], 3, {"collapsed": True}
    assert stripped(run) == kept and run != kept


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_holds_no_outputs_and_no_logic(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)  # from which on cells have ids
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert nbformat.writes(stripped(notebook)) + "\n" == path.read_text()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 0 < len(code) <= MOST
    for cell in code:
        assert len(cell.source.splitlines()) <= MOST
        tree = ast.parse(cell.source)
        assert not [node for node in ast.walk(tree) if isinstance(node, LOGIC)]
        assert all(len(node.body) <= 2 for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_the_readme_links_each_notebook():
    linked = re.findall(r"\]\((notebooks/\S+\.ipynb)\)", (ROOT / "README.md").read_text())
    assert linked == [path.relative_to(ROOT).as_posix() for path in NOTEBOOKS]


def _run(name: str, folder: Path, smaller: Mapping[str, str] = MappingProxyType({})) -> Outputs:
    """Execute a notebook in a folder, on this Python and offline; return the outputs of each code cell.

    Args:
        name: The notebook.
        folder: Where it runs.
        smaller: Values of its code, each there once, by what stands in their place.
    """
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    for value, other in smaller.items():
        (cell,) = (it for it in notebook.cells if it.cell_type == "code" and value in it.source)
        cell.source = cell.source.replace(value, other)
    notebook.cells.insert(0, new_code_cell(OFFLINE, id="offline"))
    specs = KernelSpecManager(kernel_dirs=[])  # none is installed, so that the kernel runs on this Python
    inherited = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    env = {**inherited, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / ".ipython")}
    place, manager = {"metadata": {"path": str(folder)}}, AsyncKernelManager(kernel_spec_manager=specs)
    NotebookClient(notebook, km=manager, timeout=300, resources=place).execute(env=env)
    found = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert "a test tried to connect to 192.0.2.1" in _said(found["offline"])
    return found


def _said(outputs: list[Any]) -> str:
    return "".join(it.text for it in outputs if it.output_type == "stream" and it.name == "stdout")


def _numbers(outputs: list[Any], pattern: str) -> list[float]:
    return [float(number) for number in re.findall(pattern, _said(outputs))]


def _pictures(outputs: list[Any]) -> list[np.ndarray]:
    """Return the pictures of a cell; each is large enough to be looked at, and not of one colour."""
    shown = [it.data["image/png"] for it in outputs if "image/png" in it.get("data", {})]
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in shown]
    for picture in pictures:
        assert min(picture.shape[:2]) >= 64 and max(picture.shape[:2]) >= 300
        assert picture.std() > 20
    return pictures


FEWER = {"= 64, 64, 10 ": "= 24, 32, 5 ", "projector.steps=150": "projector.steps=40"}


@pytest.mark.slow  # a whole job, which tests/test_quickstart.py runs in the fast suite
@pytest.mark.parametrize("fewer", [FEWER, {}], ids=["few", "as written"])
def test_the_quickstart_balances_and_shows_all_of_the_job(tmp_path, fewer):
    """As written, it balances; with few images and steps, it shows all of the job."""
    found = _run("01_quickstart", tmp_path, fewer)
    assert [len(_pictures(found[cell])) for cell in ("pairs", "shares-plot")] == [1, 1]
    assert len(_pictures(found["modes"])) == _said(found["modes"]).count("% of the images: an emoji of") > 1
    vanilla, guided = _numbers(found["shares"], r"men (\S+) \[")
    assert fewer or (vanilla > 0.6 and abs(guided - 0.5) < 0.1)
    (table,) = (it.data["text/markdown"] for it in found["table"])
    assert "gender fd\\_hard" in table and "| guided |" in table
    (link,) = (it.data["text/html"] for it in found["report"])
    (page,) = re.findall(r"href='(runs/jobs/\S+/report\.html)'", link)
    assert (tmp_path / page).is_file()


@pytest.mark.slow
def test_a_pipeline_of_ones_own_is_balanced_tilted_and_left_as_it_was(tmp_path):
    found = _run("02_debias_your_pipeline", tmp_path)
    before, after, tilted = (_pictures(found[cell])[0] for cell in ("before", "after", "target"))
    assert (before != after).any() and (after != tilted).any()
    men_before, men_after = _numbers(found["count"], r"(?:before|after): ([0-9.]+)")
    (men_tilted,) = _numbers(found["target"], r"tilted: ([0-9.]+)")
    assert men_before > 0.6 and abs(men_after - 0.5) < 0.1 and men_tilted < men_after - 0.05
    assert sum(_numbers(found["modes"], r"(\d+) of 64 images")) == 64
    assert _said(found["save"]) == "loaded, as saved: True\nstrength 0, as before: True\n"


@pytest.mark.slow
def test_an_auditor_sees_the_modes_of_two_prompts(tmp_path):
    found = _run("03_discover_modes", tmp_path)
    assert [len(_pictures(found[cell])) for cell in ("draw", "modes", "map")] == [1, 1, 1]
    for cell in ("sheets", "second"):
        assert len(_pictures(found[cell])) == _said(found[cell]).count("mode ") > 1
        assert "an emoji of a woman" in _said(found[cell])
    ((first,), (second,)) = (_numbers(found[cell], r"agreement of the two: (\S+)") for cell in ("other", "second"))
    assert 0.5 < first <= second


@pytest.mark.slow
def test_a_sweep_ends_with_its_table_its_plot_and_the_fairest_job(tmp_path):
    found = _run("04_read_a_sweep", tmp_path)
    assert _said(found["run"]).count("generate/vanilla: found, skipped") == 2  # it is drawn once for three jobs
    assert [it.data["text/plain"] for it in found["run"] if "data" in it] == ["0"]
    (table,) = (it.data["text/markdown"] for it in found["table"])
    assert re.findall(r"^\| (vanilla|2|6|18) \|", table, re.MULTILINE) == ["vanilla", "2", "6", "18"]
    assert "![" not in table and len(_pictures(found["plot"])) == 1
    vanilla = float(re.findall(r"^\| vanilla \| 48 \| [^|]+ \| ([0-9.]+)", table, re.MULTILINE)[0])
    (best,) = _numbers(found["best"], r"fd_hard (\S+)")
    assert best < vanilla - 0.1
    above, below = _pictures(found["images"])
    assert above.shape == below.shape and (above != below).any()
