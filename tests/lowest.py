"""The lowest versions that `pyproject.toml` allows, as a constraints file for pip; `make test-lowest` runs the suite on them.

    python tests/lowest.py > lowest.txt

It runs before anything is installed, so it needs Python's own library alone.
"""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
LOWER = re.compile(r"([\w.-]+)(?:\[.*?\])?>=([\w.]+)(?:,<[\w.]+)?")


def pin(requirement: str) -> str:
    """The lower bound of a requirement, as a pin.

    Args:
        requirement: `name>=lowest`, with or without `,<upper`.

    Returns:
        `name==lowest`.

    Raises:
        ValueError: If the requirement is of any other form, for instance has no lower bound.

    >>> pin("diffusers>=0.42,<0.44")
    'diffusers==0.42'
    """
    found = LOWER.fullmatch(requirement)
    if found is None:
        raise ValueError(f"`requirement` must be NAME>=LOWEST or NAME>=LOWEST,<UPPER, got {requirement!r}.")
    return f"{found[1]}=={found[2]}"


def requirements(project: dict) -> list[str]:
    """All requirements of a project, those of its extras among them; each once.

    Args:
        project: The table `project` of `pyproject.toml`.

    >>> requirements({"dependencies": ["numpy>=2"], "optional-dependencies": {"dev": ["ruff>=0.9", "numpy>=2"]}})
    ['numpy>=2', 'ruff>=0.9']
    """
    return list(dict.fromkeys(chain(project["dependencies"], *project["optional-dependencies"].values())))


if __name__ == "__main__":
    print(*map(pin, requirements(tomllib.loads(PROJECT.read_text())["project"])), sep="\n")
