"""Words for an evaluation of folders: what was given in place of what a job draws itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from selfdebias.report.measures import arms_of
from selfdebias.report.wording import plain


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
        >>> measured_on_twins({"turned", "PSNR, dB", "recall"})
        'PSNR, turned'
    """
    names = {"kept cosine": "kept cosine", "PSNR, dB": "PSNR", "turned": "turned"}
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
