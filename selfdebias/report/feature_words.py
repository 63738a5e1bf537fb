"""What distances are called: after the features that they are measured in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.distances import FRECHET
from selfdebias.metrics.metric import INCEPTION, Metric
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


def title_of(metric: Metric, results: Results) -> str:
    """Heading of a metric, with the features that it is measured by where they are not Inception's; FID is of those alone.

    Example:
        >>> from selfdebias.metrics.distances import KID
        >>> emoji, inception = ({"features": {"name": name, "dim": 64}, "arms": {}} for name in ("emoji_clip", INCEPTION))
        >>> title_of(FRECHET, emoji), title_of(FRECHET, inception), title_of(KID, inception)
        ('Frechet distance (emoji_clip, 64-d)', 'FID', 'KID')
    """
    if is_inception(results):
        return "FID" if metric == FRECHET else metric.title
    return f"{metric.title} ({label_of(results)})" if metric.labelled else metric.title


def key_of(metric: Metric, arm: Mapping[str, Any]) -> str:
    """The key of a metric in an arm's results."""
    return frechet_key(arm) if metric == FRECHET else metric.key


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
