"""Takes outputs, counts and what editors note out of the notebooks beside this file: `python notebooks/strip.py`."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook as it is kept: sources alone, with no trace of a run or of an editor."""
    kept = deepcopy(notebook)
    kept.metadata = deepcopy(METADATA)
    for cell in kept.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return kept


if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        nbformat.write(stripped(nbformat.read(path, as_version=4)), path)
