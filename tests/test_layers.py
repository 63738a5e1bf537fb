"""The direction of imports: a lower room never imports a higher one, and the configuration needs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_go_one_way():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


def test_the_root_holds_eleven_rooms_and_three_files():
    names = {path.name for path in (ROOT / "selfdebias").iterdir()} - {"__pycache__"}
    rooms = {
        "config",
        "testbed",
        "storage",
        "backbones",
        "encoders",
        "modes",
        "guidance",
        "judges",
        "metrics",
        "report",
        "jobs",
    }
    assert names == rooms | {"__init__.py", "main.py", "debiaser.py", "__main__.py", "py.typed"}
