"""Which arms are fairer than the baseline, in words; said only where the intervals are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.comparison import IN_WORDS, LESS_FAIR
from selfdebias.report.grids import composed_in_words
from selfdebias.report.measures import attributes_of
from selfdebias.report.wording import plain

Results = Mapping[str, Any]


def verdicts_in_words(results: Results) -> list[str]:
    """Which arms are fairer than the baseline, said only where the intervals are apart."""
    baseline = plain(results.get("baseline") or "vanilla")
    lines = []
    for arm, verdicts in results.get("verdicts", {}).items():
        told = [
            f"{plain(name)} {IN_WORDS[verdict]}{composed_in_words(results['arms'][arm], name) if verdict == LESS_FAIR else ''}"
            for name, verdict in _in_order(results, verdicts)
            if verdict
        ]
        said = [f"{'; '.join(told)} (fairer, less fair: the intervals do not overlap)"] if told else []
        untold: dict[str, list[str]] = {}
        for name in [name for name, verdict in _in_order(results, verdicts) if not verdict]:
            untold.setdefault(_untold(results, arm, name), []).append(plain(name))
        said += [f"{', '.join(names)}: cannot be told ({reason})" for reason, names in untold.items()]
        lines.append(f"{plain(arm)} against {baseline}, by fd: {'; '.join(said)}.")
    return lines


def _in_order(results: Results, verdicts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Verdicts in the order of the attributes, which a file does not keep; those of the axes or the modes come last."""
    axes = [f"axis {a}" for a in range(len(results.get("modes", {}).get("axes", [])))]
    return [(name, verdicts[name]) for name in [*attributes_of(results), *axes, "modes"] if name in verdicts]


def _untold(results: Results, arm: str, name: str) -> str:
    """Why there is no verdict: the reason of the first of the two distances that lacks a value or an interval."""
    baseline = results["arms"][results.get("baseline") or "vanilla"]
    for tree in (results["arms"][arm], baseline):
        entry = _distance(tree, name)
        if entry.get("low") is None:
            return plain(entry["reason"]).removeprefix("no interval: ")
    raise ValueError(f"`verdicts` must be given where both have an interval, got none of {arm} in {name}.")


def _distance(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The distance of an arm that a verdict is about: an attribute's, that of `modes`, or that of `axis 0` and so on."""
    if name.startswith("axis ") and name not in tree:
        return tree["axes"][int(name.removeprefix("axis "))]["fd"]
    return tree["mode_fd"] if name == "modes" else tree[name]["fd_hard"]
