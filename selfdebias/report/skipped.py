"""The image files that an evaluation could not read, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.report.wording import clip, plain

MOST = 10


def skipped_in_words(results: Mapping[str, Any], width: int = 80, most: int = MOST) -> list[str]:
    """Says how many files of each folder were skipped, and names the first ones with their reasons.

    Args:
        results: The contents of `results.json`.
        width: Terminal columns of the longest line.
        most: Files that are named, over all folders.

    Returns:
        The lines; none where nothing was skipped.

    Example:
        >>> files = [{"file": "a.png", "reason": "the file is empty"}, {"file": "b.png", "reason": "no image"}]
        >>> skipped = {"peer": {"n": 2, "files": files}, "vanilla": {"n": 0, "files": []}}
        >>> print(*skipped_in_words({"skipped": skipped}, most=1), sep="\\n")
        skipped 2 files that cannot be read (peer 2):
          peer: a.png: the file is empty
          and 1 more, in results.json under `skipped`
    """
    skipped = {arm: entry for arm, entry in results.get("skipped", {}).items() if entry["n"]}
    files = [f"  {arm}: {it['file']}: {it['reason']}" for arm, entry in skipped.items() for it in entry["files"]]
    if not files:
        return []
    counts = ", ".join(f"{arm} {entry['n']}" for arm, entry in skipped.items())
    lines = [f"skipped {len(files)} {'file' if len(files) == 1 else 'files'} that cannot be read ({counts}):"]
    lines += ["  " + plain(line) for line in files[:most]]
    if len(files) > most:
        lines.append(f"  and {len(files) - most} more, in results.json under `skipped`")
    return [clip(line, width) for line in lines]
