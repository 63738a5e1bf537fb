"""What a reader has to know about the numbers of a job: who judged, what the intervals and floors are, what is told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.report.given import batches_in_words, reference_in_words, twins_in_words
from selfdebias.report.measures import INTERVAL, arms_of, attributes_of, batches_of, finite
from selfdebias.report.wording import plain

Results = Mapping[str, Any]


def explanations(results: Results) -> list[str]:
    """What a reader has to know about the numbers: intervals, floors, references."""
    arms = results["arms"]
    lines = [
        *skipped_edits_in_words(results),
        *one_mode_in_words(results),
        *verdicts_in_words(results),
        judge_in_words(results),
        interval_in_words(results),
        f"unclassified: share of images that the judge is not sure of, for {' / '.join(attributes_of(results))}.",
        "fd_hard: distance of the judged class shares from equal ones; mode_fd: of the shares of the modes from the target, "
        f"{target_in_words(results)}; 0 is best. Only the modes are balanced: other attributes may move.",
        "floor of fd_*: expected value of a perfectly fair independent sampler at this N; batches that are balanced as a whole "
        "can be below it.",
    ]
    if "sources" in results:
        lines += batches_in_words(results) + twins_in_words(results)
        return lines + (distances_in_words(results) if "reference" in results else [])
    lines += distances_in_words(results)
    if len(arms) > 1:
        lines.append(
            "kept cosine, turned: each image against its vanilla twin from the same seed; turned precision ratio: how well "
            "images that changed their mode fit among vanilla images of that mode, 1: as well as those do themselves."
        )
        lines.append("ratio: of this one run's seconds, where an arm may have been drawn at another time than vanilla.")
    return lines


def skipped_edits_in_words(results: Results) -> list[str]:
    """How many edits each arm left out, summed over the rows where there are some; nothing where there were none.

    Example:
        >>> skipped_edits_in_words({"skipped_edits": {"vanilla": 0, "guided": 2}})
        ['guided: 2 edits were left out, because a gradient was not finite.']
    """
    counts: dict[str, int] = {}
    for row in results["rows"].values() if "rows" in results else [results]:
        for arm, count in (row.get("skipped_edits") or {}).items():
            counts[arm] = counts.get(arm, 0) + int(count)
    return [
        f"{plain(arm)}: {count} {'edit was' if count == 1 else 'edits were'} left out, because a gradient was not finite."
        for arm, count in counts.items()
        if count
    ]


def one_mode_in_words(results: Results) -> list[str]:
    """That nothing was there to be balanced, where discover found one mode."""
    if results.get("modes", {}).get("k") != 1:
        return []
    return ["One mode: nothing to balance. Discover found no second one, so the guided images are the vanilla ones."]


def target_in_words(results: Results) -> str:
    """The shares by mode that were asked for."""
    target = results.get("modes", {}).get("target") or []
    return " / ".join(f"{float(share):.2f}" for share in target) or "equal ones"


def distances_in_words(results: Results) -> list[str]:
    """What FID and KID are taken against, what their floors are, and what the evaluation warns of."""
    arms = results["arms"]
    entries = {arm: arms[arm]["fid"] for arm in arms_of(results) if isinstance(arms[arm].get("fid"), Mapping)}
    floors: dict[str, list[str]] = {}
    for arm, entry in entries.items():
        floors.setdefault(plain(entry.get("floor_of", "vanilla against vanilla")), []).append(plain(arm))
    lines = [f"floor of these for {', '.join(names)}: {text}." for text, names in floors.items()]
    if lines:
        lines.insert(0, _compared_by(results))
    warned = {plain(entry["warning"]) for entry in entries.values() if entry.get("warning")}
    return lines + [f"FID: {text}" for text in sorted(warned)]


def _compared_by(results: Results) -> str:
    features = results.get("features") or {}
    on = "the encoder's embeddings"
    if features.get("name"):
        on = f"features of {plain(features['name'])} ({plain(features.get('resize', ''))})"
    return (
        f"FID, KID, precision, recall: against {reference_in_words(results)}, on {on}; CMMD on the encoder's embeddings. "
        "A new mix of modes moves FID, KID and CMMD by itself: those within modes are the mean over modes, weighted by the arm's "
        "own mix."
    )


def interval_in_words(results: Results) -> str:
    """What the brackets are, and what stands in their place at the floor."""
    counts = [count for count in (batches_of(results, arm) for arm in results["arms"]) if count is not None]
    if counts and max(counts) == 1:
        return "No intervals: they need more than one batch, since images of one batch depend on each other."
    return (
        f"[low, high]: {plain(results.get('interval') or INTERVAL)} (images of one batch depend on each other, batches under "
        "one memory too, unguided images do not). At the floor, <= b: not told from a perfectly fair sampler; b is the upper bound."
    )


def verdicts_in_words(results: Results) -> list[str]:
    """Which arms are fairer than the baseline, said only where the intervals are apart."""
    baseline = plain(results.get("baseline") or "vanilla")
    lines = []
    for arm, verdicts in results.get("verdicts", {}).items():
        said = [f"{plain(name)} {verdict or 'has no interval'}" for name, verdict in verdicts.items()]
        lines.append(
            f"{plain(arm)} against {baseline}, by fd: {'; '.join(said)} (overlapping intervals tell nothing apart)."
        )
    return lines


def judge_in_words(results: Results) -> str:
    """The judge with its threshold, and how often it is wrong, as far as that is known."""
    judge = results.get("judge", {})
    text = f"judge: {plain(judge.get('name') or 'unknown')}"
    if finite(judge.get("threshold")) is not None:
        text += f", unclassified below {judge['threshold']:g}"
    errors = judge.get("error") or {}
    known = {
        name: errors[name]
        for name in attributes_of(results)
        if finite((errors.get(name) or {}).get("accuracy")) is not None
    }
    if not known:
        return f"{text}; how often it is wrong was not measured (evaluate.labelled=FOLDER measures it)."
    said = [f"{plain(name)} {1 - it['accuracy']:.3f} (N = {it['n']})" for name, it in known.items()]
    sources = " / ".join(dict.fromkeys(plain(it.get("source", "")) for it in known.values()))
    return f"{text}; wrong in {', '.join(said)}; {sources}."
