"""What a reader has to know about the numbers of a job: who judged, what the intervals and floors are, what is told apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from selfdebias.config.prompt_texts import CROSS
from selfdebias.metrics import quality
from selfdebias.metrics.corrected import STATED
from selfdebias.metrics.distances import FRECHET
from selfdebias.metrics.metric import Metric
from selfdebias.metrics.number import finite
from selfdebias.report.feature_words import frechet_key, is_inception, label_of, title_of, without_label
from selfdebias.report.given import (
    batches_in_words,
    colourless_in_words,
    measured_on_twins,
    reference_in_words,
    twins_in_words,
)
from selfdebias.report.grids import grids_in_words
from selfdebias.report.measures import INTERVAL, arms_of, attributes_of, batches_of, images_of
from selfdebias.report.verdicts import verdicts_in_words
from selfdebias.report.wording import AT_FLOOR, plain

Results = Mapping[str, Any]


def explanations(results: Results, shown: Collection[str]) -> list[str]:
    """What a reader has to know about the numbers: intervals, floors, references.

    Args:
        results: The contents of `results.json`.
        shown: Titles of the columns and tables beside it; nothing is said of others.
    """
    return [
        *skipped_edits_in_words(results),
        *one_mode_in_words(results),
        *told_in_words(results),
        *verdicts_in_words(results),
        judge_in_words(results),
        interval_in_words(results),
        f"unclassified: share of images that the judge is not sure of, for {' / '.join(attributes_of(results))}.",
        *fairness_in_words(results, shown),
        *(_given_in_words(results, shown) if "sources" in results else []),
        *distances_in_words(results, shown),
        *preservation_in_words(results, shown),
        *grids_in_words(results, [*shown]),
    ]


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


def told_in_words(results: Results) -> list[str]:
    """What the encoder was told with which the modes were found; nothing where that is not known.

    Example:
        >>> told_in_words({"modes": {"k": 2}, "spaces": {"encoder": {"name": "clip", "told": "captions of images"}}})
        ['The modes were found with the encoder clip, which was told captions of images.']
    """
    encoder = results.get("spaces", {}).get("encoder", {})
    if not encoder.get("told") or "k" not in (results.get("modes") or {}):
        return []
    what = "axes" if "axes" in results["modes"] else "modes"
    return [
        f"The {what} were found with the encoder {plain(encoder['name'])}, which was told {plain(encoder['told'])}."
    ]


def target_in_words(results: Results) -> str:
    """The shares by mode that were asked for."""
    target = results.get("modes", {}).get("target") or []
    return " / ".join(f"{float(share):.2f}" for share in target) or "equal ones"


def _given_in_words(results: Results, shown: Collection[str]) -> list[str]:
    return batches_in_words(results) + twins_in_words(results, shown) + colourless_in_words(results)


def fairness_in_words(results: Results, shown: Collection[str]) -> list[str]:
    """What the distances of shares are, and their floor."""
    lines = ["fd_hard: distance of the judged class shares from equal ones; 0 is best."]
    if "mode_fd" in shown:
        lines.append(
            f"mode_fd: distance of the shares of the modes from the target, {target_in_words(results)}; 0 is best. Only the "
            "modes are balanced: other attributes may move."
        )
    return [
        *lines,
        "floor of fd_*: expected value of a perfectly fair independent sampler at this N; batches that are balanced as a whole "
        "can be below it.",
    ]


def distances_in_words(results: Results, shown: Collection[str]) -> list[str]:
    """What distances are taken against and on, what their floors are, and what the evaluation warns of."""
    against = {title: metric for metric in quality.METRICS if (title := title_of(metric, results)) in shown}
    lines = [*_compared_by(results, against.values(), shown), *_floors_of(results)] if against else []
    lines += [f"{without_label(title)}: {metric.meaning}" for title, metric in against.items()]
    unbounded = [without_label(title) for title, metric in against.items() if not metric.interval]
    unbounded += ["KID within modes"] if "KID within modes" in shown else []
    if unbounded:
        lines.append(f"{', '.join(unbounded)}: no interval, since resampled sets hold copies of images, which move it.")
    if "CLIP score" in shown:
        lines.append(
            "CLIP score: 100 times the cosine of image and prompt, at least 0, so from 0 to 100; comparable under one encoder "
            "alone, and shown where at most half of the images are at 0."
        )
    entries = [arm.get(frechet_key(arm)) for arm in results["arms"].values()]
    warned = {
        plain(it["warning"])
        for it in entries
        if isinstance(it, Mapping) and it.get("warning") and title_of(FRECHET, results) in shown
    }
    return lines + sorted(warned)  # "Frechet distance with N = ..."


def _floors_of(results: Results) -> list[str]:
    floors: dict[str, list[str]] = {}
    for arm in arms_of(results):
        entry = results["arms"][arm].get(frechet_key(results["arms"][arm]))
        if isinstance(entry, Mapping):
            floors.setdefault(plain(entry.get("floor_of", "vanilla against vanilla")), []).append(plain(arm))
    return [f"floor of these for {', '.join(names)}: {text}." for text, names in floors.items()]


def _compared_by(results: Results, against: Collection[Metric], shown: Collection[str]) -> list[str]:
    features = results.get("features") or {}
    on = f"the embeddings of {label_of(results)}"
    if features.get("resize"):
        on = f"features of {plain(features['name'])} ({plain(features['resize'])})"
    names = [without_label(title_of(metric, results)) for metric in against if not metric.by_encoder]
    others = [metric.title for metric in against if metric.by_encoder]
    text = f"{', '.join(names or others)}: against {reference_in_words(results)}, on {on}"
    lines = [text + (f"; {', '.join(others)} on the encoder's embeddings." if others and names else ".")]
    if not is_inception(results):
        lines.append(
            "FID is the name of Inception's Frechet distance alone (metrics=inception): no figure here is one."
        )
    if "KID within modes" in shown:
        lines.append(
            "A new mix of modes moves Frechet distance, KID and CMMD by itself: those within modes are the mean over modes, "
            "weighted by the arm's own mix."
        )
    return lines


def preservation_in_words(results: Results, shown: Collection[str]) -> list[str]:
    """What is measured against twins, and the time."""
    lines = []
    twins = measured_on_twins(shown)
    if twins and "sources" not in results:
        lines.append(f"{twins}: each image against its vanilla twin from the same seed.")
    if "precision of switched" in shown:
        lines.append(
            "precision of switched: how well images that changed their mode fit among vanilla images of that mode, 1: as well "
            "as those do themselves; N: the switched images behind it."
        )
    if "ratio" in shown and len(results["arms"]) > 1:
        lines.append("ratio: of this one run's seconds, where an arm may have been drawn at another time than vanilla.")
    return lines


def interval_in_words(results: Results) -> str:
    """What the brackets are, what stands in their place at the floor, and which arms have none."""
    lacking = [arm for arm in arms_of(results) if batches_of(results, arm) == 1]
    ways: dict[str, list[str]] = {}
    for arm in lacking:
        ways.setdefault(_way_to_intervals(results, arm), []).append(plain(arm))
    lines = [f"{', '.join(arms)}: no intervals, {way}." for way, arms in ways.items()]
    if len(lacking) < len(results["arms"]):
        lines.insert(
            0,
            f"[low, high]: {plain(results.get('interval') or INTERVAL)} (images of one batch depend on each other, batches "
            "under one memory too, unguided images do not). At the floor, <= b: within sampling noise of a perfectly fair "
            f"sampler, at most {AT_FLOOR} times the floor; not told from fair, <= b: a larger value whose interval contains a fair "
            "sampler; b is the upper bound.",
        )
    return " ".join(lines)


def _way_to_intervals(results: Results, arm: str) -> str:
    n = images_of(results, arm) or 0
    if "sources" in results:
        return f"1 batch of {n}; more images, or a smaller evaluate.drawn_together, give more"
    if results.get("dependence", {}).get(arm) == "run":
        return f"1 memory for all {n} images; more prompts.templates, each with its own, give more"
    return f"1 batch of {n}; generate.n_images={2 * n} generate.batch_size={n} gives two"


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
    return f"{text}; wrong in {_errors_in_words(known)}.{_crossed_in_words(results)}"


def _errors_in_words(known: Mapping[str, Mapping[str, Any]]) -> str:
    """Error and number of labelled images by attribute, each with its source where they have several."""
    sources = {name: plain(it.get("source", "")) for name, it in known.items()}
    several = len({*sources.values()}) > 1
    said = []
    for name, it in known.items():
        source = "stated" if sources[name].startswith(STATED) else sources[name]
        said.append(f"{plain(name)} {1 - it['accuracy']:.3f} (N = {it['n']}{f', {source}' if several else ''})")
    full = dict.fromkeys(source for source in sources.values() if not several or source.startswith(STATED))
    return "; ".join([", ".join(said), *full])


def _crossed_in_words(results: Results) -> str:
    crossed = [plain(name) for name in attributes_of(results) if CROSS in name]
    return f" {', '.join(crossed)}: as often wrong as the parts together; not corrected." if crossed else ""
