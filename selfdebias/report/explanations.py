"""What a reader has to know about numbers: who judged, what intervals, floors and references are, what folders were given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from selfdebias.config.prompts import CROSS
from selfdebias.judges.labelled import STATED
from selfdebias.metrics import quality
from selfdebias.metrics.distances import FRECHET
from selfdebias.metrics.metric import ReferenceMetric
from selfdebias.metrics.number import finite
from selfdebias.metrics.preservation import KEPT_COSINE, PRECISION_OF_SWITCHED
from selfdebias.report.comparisons import grids_in_words, verdicts_in_words
from selfdebias.report.measures import (
    Results,
    arms_of,
    attributes_of,
    batches_of,
    frechet_key,
    is_inception,
    label_of,
    level_in_words,
    title_of,
    without_label,
)
from selfdebias.report.next_step import way_to_intervals
from selfdebias.report.wording import AT_FLOOR, by_text, plain

# Columns, and their names in a sentence.
ON_TWINS = {KEPT_COSINE.title: "kept cosine", "PSNR, dB": "PSNR", "switched": "switched"}


def explanations(results: Results, shown: Collection[str]) -> list[str]:
    """What a reader has to know about the numbers: intervals, floors, references.

    Args:
        results: The contents of `results.json`.
        shown: Titles of the columns and tables beside it; nothing is said of others.
    """
    return [text for texts in by_section(results, shown).values() for text in texts]


def by_section(results: Results, shown: Collection[str]) -> dict[str, list[str]]:
    """The same by what they explain: all edits, the modes, fairness, folders, quality, and tables of comparisons."""
    judged = [judge_in_words(results), interval_in_words(results)]
    return {
        "edits": skipped_edits_in_words(results),
        "modes": modes_in_words(results),
        "fairness": [*verdicts_in_words(results), *judged, *fairness_in_words(results, shown)],
        "folders": folders_in_words(results, shown) if "sources" in results else [],
        "quality": [*distances_in_words(results, shown), *preservation_in_words(results, shown)],
        "comparisons": grids_in_words(results, [*shown]),
    }


def skipped_edits_in_words(results: Results) -> list[str]:
    """How many edits each arm left out, summed over the rows where there are some; nothing where there were none.

    Example:
        >>> skipped_edits_in_words({"skipped_edits": {"vanilla": 0, "guided": 2}})
        ['guided: 2 edits were left out, because a gradient was not finite.']
    """
    counts: Counter[str] = Counter()
    for row in results["rows"].values() if "rows" in results else [results]:
        counts.update(row.get("skipped_edits") or {})
    said = {arm: f"{count} {'edit was' if count == 1 else 'edits were'}" for arm, count in counts.items() if count}
    return [f"{plain(arm)}: {edits} left out, because a gradient was not finite." for arm, edits in said.items()]


def modes_in_words(results: Results) -> list[str]:
    """Where there is one mode, that nothing was to be balanced; what the encoder was told, and which arms were told the attribute.

    Example:
        >>> modes_in_words({"modes": {"k": 2}, "spaces": {"encoder": {"name": "clip", "told": "captions of images"}}})
        ['The modes were found with the encoder clip, which was told captions of images.']
        >>> modes_in_words({"modes": {"k": 2, "classes": ["man", "woman"]}, "told": {"guided": "the attribute, by labels"}})
        ['Told: the modes are classes of the judge, man / woman.', 'Told: guided was told the attribute, by labels.']
    """
    modes, encoder, lines = results.get("modes") or {}, results.get("spaces", {}).get("encoder", {}), []
    if modes.get("k") == 1:
        lines.append(
            "One mode: nothing to balance. Discover found no second one, so the guided images are the vanilla ones."
        )
    if "classes" in modes:
        lines.append(f"Told: the modes are classes of the judge, {' / '.join(map(plain, modes['classes']))}.")
    elif encoder.get("told") and "k" in modes:
        what, name = "axes" if "axes" in modes else "modes", plain(encoder["name"])
        lines.append(f"The {what} were found with the encoder {name}, which was told {plain(encoder['told'])}.")
    one = next(iter(results["rows"].values())) if "rows" in results else results
    return lines + [f"Told: {plain(arm)} was told {how}." for arm, how in one.get("told", {}).items()]


def folders_in_words(results: Results, shown: Collection[str]) -> list[str]:
    """Of an evaluation of folders: which images count as sampled alone, and how many have a twin, or greys alone.

    Example:
        >>> sources = {"peer": {"drawn_together": 1, "without_colour": 0}, "own": {"drawn_together": None, "without_colour": 1}}
        >>> results = {"sources": sources, "twins": {"peer": 997}, "baseline": "own"}
        >>> print(*folders_in_words(results, {"PSNR, dB", "recall"}), sep="\\n")
        peer: each image counts as drawn by itself; if n were guided as one batch, say evaluate.drawn_together=n.
        twins: images of one name (or, with a manifest, seed): peer 997 in own; over these: PSNR.
        own: 1 without colour; images of greys alone are judged like the others, also where a class is a matter of colour.
    """
    lines, sources = [], {plain(arm): source for arm, source in results["sources"].items()}
    alone = ", ".join(arm for arm, it in sources.items() if it["drawn_together"] == 1)
    twins = ", ".join(f"{plain(arm)} {n}" for arm, n in results.get("twins", {}).items())
    grey = ", ".join(f"{arm}: {n} without colour" for arm, it in sources.items() if (n := it["without_colour"]))
    if alone:
        lines.append(
            f"{alone}: each image counts as drawn by itself; if n were guided as one batch, say evaluate.drawn_together=n."
        )
    if twins:
        over = ", ".join(name for title, name in ON_TWINS.items() if title in shown)
        lines.append(
            f"twins: images of one name (or, with a manifest, seed): {twins} in {plain(results['baseline'])}"
            f"{f'; over these: {over}' if over else ''}."
        )
    if grey:
        lines.append(
            f"{grey}; images of greys alone are judged like the others, also where a class is a matter of colour."
        )
    return lines


def fairness_in_words(results: Results, shown: Collection[str]) -> list[str]:
    """What is unclassified, what the distances of shares are, and their floor."""
    lines = [
        f"unclassified: share of images that the judge is not sure of, for {' / '.join(attributes_of(results))}.",
        "fd_hard: distance of the judged class shares from equal ones; 0 is best.",
        "floor of fd_*: expected value of a perfectly fair independent sampler at this N; batches that are balanced as a whole "
        "can be below it.",
    ]
    if "mode_fd" in shown:
        target = " / ".join(f"{float(share):.2f}" for share in results.get("modes", {}).get("target") or [])
        text = f"mode_fd: distance of the shares of the modes from the target, {target or 'equal ones'}; 0 is best."
        lines.insert(2, f"{text} Only the modes are balanced: other attributes may move.")
    return lines


def distances_in_words(results: Results, shown: Collection[str]) -> list[str]:
    """What distances are taken against and on, what their floors are, and what the evaluation warns of."""
    against = {title: metric for metric in quality.METRICS if (title := title_of(metric, results)) in shown}
    found = {arm: results["arms"][arm].get(frechet_key(results["arms"][arm])) for arm in arms_of(results)}
    frechet = {arm: entry for arm, entry in found.items() if isinstance(entry, Mapping)}
    floors = by_text((plain(entry.get("floor_of", "vanilla against vanilla")), arm) for arm, entry in frechet.items())
    lines = _compared_by(results, against.values(), shown) if against else []
    lines += [f"floor of these for {names}: {text}." for text, names in floors.items() if against]
    lines += [f"{without_label(title)}: {metric.meaning}" for title, metric in against.items()]
    unbounded = [without_label(title) for title, metric in against.items() if not metric.interval]
    unbounded += ["KID within modes"] if "KID within modes" in shown else []
    if unbounded:
        lines.append(f"{', '.join(unbounded)}: no interval, since resampled sets hold copies of images, which move it.")
    if quality.CLIP_SCORE.title in shown:
        lines.append(quality.CLIP_SCORE.in_words)
    warned = frechet.values() if title_of(FRECHET, results) in shown else ()  # of a small N
    return lines + sorted({plain(entry["warning"]) for entry in warned if entry.get("warning")})


def _compared_by(results: Results, against: Collection[ReferenceMetric], shown: Collection[str]) -> list[str]:
    features, given = results.get("features") or {}, results.get("reference")
    reference = "vanilla images of other seeds"
    if given:
        words = f"the {given['images']} reference images of {plain(given['path'])}"
        reference = f"{words} (sha256 {given['sha256'][:12]}...)"
    on = f"the embeddings of {label_of(results)}"
    if features.get("resize"):
        on = f"features of {plain(features['name'])} ({plain(features['resize'])})"
    names = [without_label(title_of(metric, results)) for metric in against if not metric.by_encoder]
    others = [metric.title for metric in against if metric.by_encoder]
    text = f"{', '.join(names or others)}: against {reference}, on {on}"
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
    twins = ", ".join(name for title, name in ON_TWINS.items() if title in shown and "sources" not in results)
    lines = [f"{twins}: images against their vanilla twins from the same seeds."] if twins else []
    lines += ["PSNR: mean over the images that differ from their twins."] if "PSNR, dB" in shown else []
    lines += [KEPT_COSINE.in_words] if KEPT_COSINE.title in shown else []
    if PRECISION_OF_SWITCHED.title in shown:
        lines.append(PRECISION_OF_SWITCHED.in_words)
    if "ratio" in shown and len(results["arms"]) > 1:
        lines.append("ratio: of this one run's seconds, where an arm may have been drawn at another time than vanilla.")
    if "rows" in shown and len(results["arms"]) > 1:
        lines.append("rows: rows that the denoiser evaluated for each delivered image, over vanilla's.")
    return lines


def interval_in_words(results: Results) -> str:
    """What the brackets are, what stands in their place at the floor, and which arms have none."""
    lacking = [arm for arm in arms_of(results) if batches_of(results, arm) == 1]
    ways = by_text((way_to_intervals(results, arm), arm) for arm in lacking)
    lines = []
    if len(lacking) < len(results["arms"]):
        lines.append(
            f"[low, high]: {level_in_words(results)} intervals over batches (images of one batch depend on each other, batches "
            "under one memory too, unguided images do not). At the floor, <= b: within sampling noise of a perfectly fair "
            f"sampler, at most {AT_FLOOR} times the floor; not told from fair, <= b: a larger value whose interval contains a fair "
            "sampler; b is the upper bound."
        )
    lines += [f"{arms}: no intervals, {way}." for way, arms in ways.items()]
    return " ".join(lines)


def judge_in_words(results: Results) -> str:
    """The judge with its threshold, and how often it is wrong, as far as that is known."""
    judge = results.get("judge", {})
    text = f"judge: {plain(judge.get('name') or 'unknown')}"
    if finite(judge.get("threshold")) is not None:
        text += f", unclassified below {judge['threshold']:g}"
    errors = {name: (judge.get("error") or {}).get(name) or {} for name in attributes_of(results)}
    known = {name: error for name, error in errors.items() if finite(error.get("accuracy")) is not None}
    if not known:
        return f"{text}; how often it is wrong was not measured (evaluate.labelled=FOLDER measures it)."
    text += f"; wrong in {_errors_in_words(known)}."
    crossed = ", ".join(plain(name) for name in errors if CROSS in name)
    return text + (f" {crossed}: as often wrong as the parts together; not corrected." if crossed else "")


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
