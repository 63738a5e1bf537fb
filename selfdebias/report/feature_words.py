"""What distances are called: after the features that they are measured in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.suite import INCEPTION
from selfdebias.report.wording import plain

Results = Mapping[str, Any]


def frechet_key(arm: Mapping[str, Any]) -> str:
    """The key of an arm's Frechet distance: `fid` of Inception's features, and of any features in results of before.

    Example:
        >>> frechet_key({"fid": {"value": 0.05}}), frechet_key({"frechet_distance": {"value": 0.05}}), frechet_key({})
        ('fid', 'frechet_distance', 'frechet_distance')
    """
    return "fid" if "fid" in arm and "frechet_distance" not in arm else "frechet_distance"


def label_of(results: Results) -> str:
    """Whose features distances are measured in, and their width; results of before say that of an extractor alone.

    Example:
        >>> label_of({"features": {"name": "emoji_clip", "dim": 64}, "arms": {}})
        'emoji_clip, 64-d'
        >>> label_of({"features": None, "arms": {"vanilla": {"kid": {"value": 0.1, "features": 64}}}})
        'encoder, 64-d'
    """
    features = results.get("features") or {}
    widths = [entry["features"] for arm in results["arms"].values() for entry in _entries(arm) if "features" in entry]
    width = features.get("dim") or next(iter(widths), None)
    return plain(features.get("name") or "encoder") + (f", {width}-d" if width else "")


def frechet_title(results: Results) -> str:
    """Heading of the Frechet distance: FID is that of Inception's features alone.

    Example:
        >>> frechet_title({"features": {"name": "emoji_clip", "dim": 64}, "arms": {}})
        'Frechet distance (emoji_clip, 64-d)'
        >>> frechet_title({"features": {"name": INCEPTION, "dim": 2048}, "arms": {}})
        'FID'
    """
    return "FID" if is_inception(results) else f"Frechet distance ({label_of(results)})"


def kid_title(results: Results) -> str:
    """Heading of the kernel distance; without features beside it, it is that of Inception's.

    Example:
        >>> kid_title({"features": {"name": "emoji_clip", "dim": 64}, "arms": {}})
        'KID (emoji_clip, 64-d)'
    """
    return "KID" if is_inception(results) else f"KID ({label_of(results)})"


def is_inception(results: Results) -> bool:
    """Whether distances are measured in the features of published FID figures."""
    return (results.get("features") or {}).get("name") == INCEPTION


def without_label(title: str) -> str:
    """A heading without the features beside it.

    Example:
        >>> without_label("KID (emoji_clip, 64-d)"), without_label("KID within modes")
        ('KID', 'KID within modes')
    """
    return title.partition(" (")[0]


def _entries(arm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [arm[key] for key in ("kid", "precision", frechet_key(arm)) if isinstance(arm.get(key), Mapping)]
