"""Writes `results.json`, and each of its numbers as a line of `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from selfdebias.storage.atomic import append_line, write_json


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write both files; a `metrics.jsonl` of an earlier, unfinished attempt is replaced."""
    log = folder / "metrics.jsonl"
    log.unlink(missing_ok=True)
    for name, entry in named_numbers(results["arms"]):
        append_line(log, {"stage": "evaluate", "step": 0, "name": name, **entry})
    write_json(folder / "results.json", dict(results))


def named_numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk a part of `results.json`, yielding each number's entry with its path.

    Example:
        >>> list(named_numbers({"guided": {"gender": {"gap": {"value": 0.5, "n": 4}}, "turned": {"n": 2}}}))
        [('guided/gender/gap', {'value': 0.5, 'n': 4}), ('guided/turned/n', {'value': 2})]
    """
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            yield path, {"value": value}
        elif "value" in value:
            yield path, dict(value)
        else:
            yield from named_numbers(value, path + "/")
