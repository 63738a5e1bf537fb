"""Words for an evaluation of folders: what was given in place of what a job draws itself, and what could not be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from selfdebias.report.measures import arms_of
from selfdebias.report.wording import clip, plain

MOST = 10  # files that could not be read, by name


def folders_in_words(results: Mapping[str, Any]) -> str:
    """Which folders were evaluated, and how many images could be read in each.

    Example:
        >>> sources = {"peer": {"images": 998}, "vanilla": {"images": 1000}}
        >>> folders_in_words({"sources": sources, "arms": {"peer": {}, "vanilla": {}}})
        'SelfDebias: evaluation of the folders vanilla (1000 images), peer (998 images)'
    """
    counts = {arm: results["sources"][arm]["images"] for arm in arms_of(results)}
    words = ", ".join(f"{plain(arm)} ({n} {'image' if n == 1 else 'images'})" for arm, n in counts.items())
    return f"SelfDebias: evaluation of the {'folder' if len(counts) == 1 else 'folders'} {words}"


def reference_in_words(results: Mapping[str, Any]) -> str:
    """What distances are taken against.

    Example:
        >>> reference_in_words({"reference": {"path": "real", "images": 5000, "sha256": "0123456789abcdef"}})
        'the 5000 reference images of real (sha256 0123456789ab...)'
    """
    given = results.get("reference")
    if not given:
        return "vanilla images of other seeds"
    return f"the {given['images']} reference images of {plain(given['path'])} (sha256 {given['sha256'][:12]}...)"


def batches_in_words(results: Mapping[str, Any]) -> list[str]:
    """Warns that intervals take images for independent where no one has said which were sampled together.

    Example:
        >>> batches_in_words({"sources": {"peer": {"drawn_together": 1}, "own": {"drawn_together": None}}})
        ['peer: each image counts as drawn by itself; if n were guided as one batch, say evaluate.drawn_together=n.']
    """
    alone = [plain(arm) for arm, source in results["sources"].items() if source["drawn_together"] == 1]
    if not alone:
        return []
    return [
        f"{', '.join(alone)}: each image counts as drawn by itself; if n were guided as one batch, say "
        "evaluate.drawn_together=n."
    ]


def colourless_in_words(results: Mapping[str, Any]) -> list[str]:
    """How many images of each folder are of greys alone, which no judge of colours can tell apart.

    Example:
        >>> colourless_in_words({"sources": {"peer": {"without_colour": 1}, "own": {"without_colour": 0}}})
        ['peer: 1 without colour; images of greys alone are judged like the others, also where a class is a matter of colour.']
    """
    counts = {plain(arm): it["without_colour"] for arm, it in results["sources"].items() if it["without_colour"]}
    if not counts:
        return []
    said = ", ".join(f"{arm}: {n} without colour" for arm, n in counts.items())
    return [f"{said}; images of greys alone are judged like the others, also where a class is a matter of colour."]


def measured_on_twins(shown: Collection[str]) -> str:
    """What is measured on twins, among the columns that are shown.

    Example:
        >>> measured_on_twins({"switched", "PSNR, dB", "recall"})
        'PSNR, switched'
    """
    names = {"kept cosine": "kept cosine", "PSNR, dB": "PSNR", "switched": "switched"}
    return ", ".join(name for title, name in names.items() if title in shown)


def twins_in_words(results: Mapping[str, Any], shown: Collection[str]) -> list[str]:
    """How many images of each folder have a twin in the one that it is compared with.

    Example:
        >>> twins_in_words({"twins": {"peer": 997}, "baseline": "vanilla"}, {"PSNR, dB"})
        ['twins: images of one name (or, with a manifest, seed): peer 997 in vanilla; over these: PSNR.']
    """
    counts = ", ".join(f"{plain(arm)} {n}" for arm, n in results.get("twins", {}).items())
    if not counts:
        return []
    over = measured_on_twins(shown)
    return [
        f"twins: images of one name (or, with a manifest, seed): {counts} in {plain(results['baseline'])}"
        f"{f'; over these: {over}' if over else ''}."
    ]


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
