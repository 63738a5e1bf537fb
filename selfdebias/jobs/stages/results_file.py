"""Writes `results.json`, and each of its numbers as a line of `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.report.measures import named_numbers
from selfdebias.storage.atomic import append_line, write_json


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write both files; a `metrics.jsonl` of an earlier, unfinished attempt is replaced."""
    log = folder / "metrics.jsonl"
    log.unlink(missing_ok=True)
    for name, entry in named_numbers(results["arms"]):
        append_line(log, {"stage": "evaluate", "step": 0, "name": name, **entry})
    write_json(folder / "results.json", dict(results))
